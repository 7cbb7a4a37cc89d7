"""One perturbation for all tasks of an image."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from mta.cases import case_of
from mta.protocol import ATTRIBUTES, SETTINGS
from mta.victims import train_victim
from torch import Tensor

from moml.attack import (
    L2, PGD, Linf, ModelObjective, Victim, classified_as, cross_entropy, misclassified, targeted,
)  # fmt: skip
from moml.attack._ascent import Ascent
from moml.attack.generator import SideBySide
from moml.attack.one_delta import OneDelta
from moml.data import TensorSource
from moml.weighting import EW
from tasks import DigitAttributes

if TYPE_CHECKING:
    from mta.jobs import Job


def run_one_delta(job: Job, out: Path) -> dict[str, Any]:
    """One perturbation for four attributes of a digit; share of samples with all four fooled."""
    suite, models = DigitAttributes(seed=job.seed), {}
    for i, task in enumerate(ATTRIBUTES):
        source = suite.sources("train")
        assert isinstance(source, TensorSource)
        models[task] = train_victim(
            source, task, classes=10 if task == "digit" else 2, size=16,
            steps=round(5 * job.scale.victim_steps / 3), seed=10 * job.seed + i,
            eps=job.scale.hardening,
        )  # fmt: skip
    victim, data = Victim(SideBySide(models)), suite.sources("test").batch(torch.arange(994))
    assert isinstance(data.inputs, Tensor)
    with torch.no_grad():
        said = victim(data.inputs)
    right = torch.stack([said[t].argmax(1) == data.targets[t] for t in ATTRIBUTES], 1).all(1)
    chosen = right.nonzero()[: job.scale.images, 0]
    x, y = data.inputs[chosen], {t: data.targets[t][chosen] for t in ATTRIBUTES}

    def goal(tasks: Iterable[str]) -> ModelObjective:
        return victim.objective(
            y, loss=dict.fromkeys(tasks, cross_entropy), success=dict.fromkeys(tasks, misclassified)
        )

    result: dict[str, Any] = {"samples": len(x)}
    return result | {f"eps {eps:.2f}": compared(goal, ATTRIBUTES, x, eps) for eps in (0.10, 0.15)}


def run_opposed(job: Job, out: Path) -> dict[str, Any]:
    """One perturbation that three victims should take for three different digits."""
    setting = SETTINGS["opposing targets"]
    case = case_of(setting, job.scale, out, job.seed)
    models = {task: aim.victim.model for task, aim in case.aims.items()}
    assert isinstance(case.test.inputs, Tensor)
    x = case.test.inputs[: job.scale.images]
    y = {t: a.relabel(case.test.targets[t])[: len(x)] for t, a in case.aims.items() if a.relabel}
    victim = Victim(SideBySide(models))

    def goal(tasks: Iterable[str]) -> ModelObjective:
        return victim.objective(
            y,
            loss=dict.fromkeys(tasks, targeted(cross_entropy)),
            success=dict.fromkeys(tasks, classified_as),
        )

    return {"samples": len(x), f"eps {setting.eps:.2f}": compared(goal, tuple(y), x, setting.eps)}


def compared(
    goal: Callable[[Iterable[str]], ModelObjective], tasks: tuple[str, ...], x: Tensor, eps: float
) -> dict[str, list[float]]:
    """Share of samples fooled for every task, then for all at once, by how gradients are weighed.

    The bound is a perturbation per task.
    """
    ball = Linf(eps)
    ascents: dict[str, Ascent | None] = {
        "sum": None,
        "sum, unit gradients": OneDelta(EW(), ball=ball, goal_mask=False),
        "max-min (L2)": OneDelta(ball=L2(1.0), goal_mask=False),
        "max-min (L1 dual)": OneDelta(ball=ball, goal_mask=False),
        "goal mask, sum": OneDelta(EW(), ball=ball, unit=False),
        "hard goal mask, sum, unit gradients": OneDelta(EW(), ball=ball, hold=0.0),
        "goal mask, sum, unit gradients": OneDelta(EW(), ball=ball),
        "goal mask, max-min (L2)": OneDelta(ball=L2(1.0)),
        "goal mask, max-min (L1 dual)": OneDelta(ball=ball),
    }
    found = {}
    for name, ascent in ascents.items():
        x_adv = PGD(ball, steps=20, ascent=ascent, seed=1).perturb(goal(tasks), x)
        found[name] = shares(goal(tasks).reached(x_adv))
    alone = [goal([t]).reached(PGD(ball, steps=20, seed=1).perturb(goal([t]), x)) for t in tasks]
    return found | {"bound: a perturbation per task": shares(torch.cat(alone, 1))}


def shares(reached: Tensor) -> list[float]:
    """For every task, then for all of them on the same sample."""
    both = torch.cat([reached, reached.all(1, keepdim=True)], dim=1)
    return both.double().mean(0).tolist()
