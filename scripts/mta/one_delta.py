"""One perturbation for all tasks of an image."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from mta.protocol import ATTRIBUTES
from mta.victims import train_victim
from torch import Tensor

from moml.attack import L2, PGD, Linf, Victim, cross_entropy, misclassified
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

    def goal(tasks: Iterable[str]) -> Any:
        return victim.objective(
            y, loss=dict.fromkeys(tasks, cross_entropy), success=dict.fromkeys(tasks, misclassified)
        )

    result: dict[str, Any] = {"samples": len(x)}
    for eps in (0.10, 0.15):
        ball, rows = Linf(eps), {}
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
        for name, ascent in ascents.items():
            x_adv = PGD(ball, steps=20, ascent=ascent, seed=1).perturb(goal(ATTRIBUTES), x)
            rows[name] = float(goal(ATTRIBUTES).reached(x_adv).all(1).double().mean())
        alone = [
            goal([t]).reached(PGD(ball, steps=20, seed=1).perturb(goal([t]), x)) for t in ATTRIBUTES
        ]
        rows["bound: a perturbation per task"] = float(torch.cat(alone, 1).all(1).double().mean())
        result[f"eps {eps:.2f}"] = rows
    return result
