"""The robustness card: what is left of every task under attack, and whether to believe it."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from moml.attack._base import Attack, Bounds
from moml.attack._judge import Judge, find_judges
from moml.attack._objective import Objective
from moml.attack.apgd import APGD
from moml.attack.ball import L2, Ball, Linf
from moml.attack.fab import FAB
from moml.attack.fgsm import FGSM
from moml.attack.objectives import margin, targeted_margin
from moml.attack.pgd import PGD
from moml.attack.square import Square
from moml.attack.worst_case import each_target, worst_case
from moml.data import Batch
from moml.losses import Loss

QUERIES, MOST_DIMENSIONS = 5, 4  # of Square: per step of APGD; of batches that it knows
NEAREST_TARGETS = 3  # of FAB-T; APGD-T goes for nine, which costs less each
# Beyond these, robustness that gradients show is not to be believed.
MOST_ZERO_GRADIENTS, MOST_SCALE_GAIN, MOST_STEP_GAIN = 0.05, 0.02, 0.02


class MaskedGradients(UserWarning):
    """Attacks that follow the usual loss's gradient overstate this model's robustness."""


@dataclass(frozen=True)
class TaskCard:
    """One task under attack.

    Attributes:
        score: ``accuracy`` (higher is better; share of positions for dense outputs) or ``loss``.
        clean: Score without attack.
        attacks: Score under each attack.
        worst: Score if for every sample the worst attack counts.
        zero_gradients: Share of samples with an input gradient of exactly zero.
        plain: Score under PGD on the usual loss, where a logit scale can hide gradients.
        scale_free: The same on a loss without a scale; equal for tasks without logits.
        curve: Radius and score under scale-free PGD.
        flags: Why gradients seem masked; empty if they do not.
        passes: Forward passes behind every gradient and score: 1, or more for a random model.
    """

    score: str
    clean: float
    attacks: dict[str, float]
    worst: float
    zero_gradients: float
    plain: float
    scale_free: float
    curve: list[tuple[float, float]]
    flags: list[str]
    passes: int = 1

    @property
    def random(self) -> bool:
        """Whether the same inputs gave other outputs a second time."""
        return self.passes > 1


@dataclass(frozen=True)
class Card:
    """All tasks under attack.

    Attributes:
        ball: Threat model, for example ``Linf(eps=0.1)``.
        samples: Samples per task.
        tasks: Card per task.
        transfer: Score of each task (inner key) on inputs perturbed against another (outer key);
            empty if tasks have inputs of their own.
    """

    ball: str
    samples: int
    tasks: dict[str, TaskCard]
    transfer: dict[str, dict[str, float]]

    @property
    def masked(self) -> bool:
        """Whether some task's gradients seem masked."""
        return any(task.flags for task in self.tasks.values())

    def to_dict(self) -> dict[str, Any]:
        """As plain data."""
        return {**asdict(self), "masked": self.masked}


def robustness_card(
    model: nn.Module,
    loader: Iterable[Batch],
    losses: Mapping[str, Loss],
    ball: Ball,
    *,
    bounds: Bounds | None = (0.0, 1.0),
    samples: int = 256,
    steps: int = 100,
    curve: Sequence[float] = (0.0, 0.25, 0.5, 1.0, 1.5, 2.0),
    eot: int = 20,
    device: torch.device | str = "cpu",
    seed: int = 0,
    announce: Callable[[str], None] = lambda line: None,
) -> Card:
    """Judge every task of a network: clean, under attack, the worst case, and sanity tests.

    Attacks are FGSM, PGD-10/50 and AutoAttack's: APGD-CE, APGD-T, FAB-T (towards the three
    likeliest classes) and Square (``5 steps`` queries, in the Linf and L2 ball). Works for any
    number of classes, yes/no answers, dense outputs and regression, with those attacks that they
    have. Robustness is that of the worst of these attacks, an upper bound of the true one; it is no
    certificate.

    A network is random if the same inputs give other outputs a second time, in evaluation mode.
    Gradients and goals are then means over ``eot`` passes (expectation over transformation), and
    so are scores; APGD-DLR takes the place of the attacks that look at every class or none.

    Args:
        model: Network with ``model(inputs, tasks) -> {task: output}``, such as an `Architecture`.
        loader: Batches to take samples from.
        losses: Training loss per task, which says how predictions decide (`Loss.logits`).
        ball: Threat model, in the units of the data.
        bounds: Smallest and largest value of the data; ``None`` for unbounded data.
        samples: Labelled samples per task, at most.
        steps: Steps of APGD and FAB.
        curve: Radii of the curve, as multiples of the ball's.
        eot: Forward passes per gradient and score where the network is random.
        device: Where the network lives.
        seed: Seed of random starts.
        announce: Gets a line after every attack on every task.

    Raises:
        ValueError: If a task has no labelled sample, or inputs leave the bounds.

    Warns:
        MaskedGradients: If the usual loss's gradients understate what a perturbation can do.
    """
    judges, own_inputs = find_judges(model, loader, losses, bounds, samples, device)
    options: dict[str, Any] = {"bounds": bounds, "seed": seed}
    tasks, twins = {}, {}
    with _seeded(device, seed):  # what a random network draws
        judges = {name: judge.repeated(eot) for name, judge in judges.items()}
        for name, judge in judges.items():
            tasks[name], twins[name] = _judged(
                judge,
                ball,
                steps,
                curve,
                options,
                partial(_announced, announce, name),
            )
        transfer = {} if own_inputs else _transfer(judges, twins)
    card = Card(repr(ball), max(len(j.x) for j in judges.values()), tasks, transfer)
    for name, task in tasks.items():
        for flag in task.flags:
            warnings.warn(f"Task '{name}': {flag}", MaskedGradients, stacklevel=2)
    return card


def _announced(announce: Callable[[str], None], task: str, line: str) -> None:
    announce(f"{task}: {line}")


def _judged(
    judge: Judge,
    ball: Ball,
    steps: int,
    curve: Sequence[float],
    options: dict[str, Any],
    announce: Callable[[str], None],
) -> tuple[TaskCard, Tensor]:
    """A task's card, and the inputs of PGD-50 for the transfer matrix."""
    options = {**options, "eot": judge.passes}
    runs = _runs(judge, ball, steps, options)
    found, scores = {}, {}
    for name, run in runs.items():
        found[name] = _run(run, judge.x)
        scores[name] = judge.scores(found[name])
        announce(f"{judge.score_name} {float(scores[name].mean()):.4g} under {name}")
    free = judge.scores(_run([(PGD(ball, steps=10, **options), judge.scale_free())], judge.x))
    clean = judge.scores(judge.x)
    worst = judge.worse(clean, free)
    for one in scores.values():
        worst = judge.worse(worst, one)
    card = TaskCard(
        score=judge.score_name,
        clean=float(clean.mean()),
        attacks={name: float(one.mean()) for name, one in scores.items()},
        worst=float(worst.mean()),
        zero_gradients=judge.zero_gradients(),
        plain=float(scores["PGD-10"].mean()),
        scale_free=float(free.mean()),
        curve=[_point(judge, ball.resized(k * ball.eps), options) for k in curve],
        flags=[],
        passes=judge.passes,
    )
    return replace(card, flags=_flags(card)), found["PGD-50"]


def _runs(
    judge: Judge, ball: Ball, steps: int, options: dict[str, Any]
) -> dict[str, list[tuple[Attack, Objective]]]:
    """Every attack with what it raises, from the cheapest to the dearest."""
    plain, adaptive = judge.plain(), APGD(ball, steps=steps, **options)
    runs: dict[str, list[tuple[Attack, Objective]]] = {
        "FGSM": [(FGSM(ball, bounds=options["bounds"], eot=options["eot"]), plain)],
        "PGD-10": [(PGD(ball, steps=10, **options), plain)],
        "PGD-50": [(PGD(ball, steps=50, **options), plain)],
        "APGD-CE" if judge.classes else "APGD": [(adaptive, plain)],
    }
    if judge.classes and (judge.dense or judge.passes > 1):
        runs["APGD-DLR"] = [(adaptive, judge.ratio())]
    elif judge.classes:
        about = judge.victim, judge.labels, judge.x
        runs["APGD-T"] = [(adaptive, goal) for goal in each_target(*about)]
        nearest = FAB(ball, steps=steps, **options)
        near = each_target(*about, num_targets=NEAREST_TARGETS, loss=targeted_margin)
        runs["FAB-T"] = [(nearest, goal) for goal in near]
    if judge.passes == 1 and isinstance(ball, (Linf, L2)) and judge.x.dim() <= MOST_DIMENSIONS:
        search = Square(ball, queries=QUERIES * steps, **options)
        runs["Square"] = [(search, judge.objective(margin))]
    return runs


@contextmanager
def _seeded(device: torch.device | str, seed: int) -> Iterator[None]:
    """Draws of their own, that leave the global generators as they were."""
    device = torch.device(device)
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        yield


def _run(attacks: list[tuple[Attack, Objective]], x: Tensor) -> Tensor:
    """One attack, or the worst case of several with the same goal."""
    if len(attacks) == 1:
        attack, goal = attacks[0]
        return attack.perturb(goal, x)
    return worst_case(attacks, x)


def _point(judge: Judge, ball: Ball, options: dict[str, Any]) -> tuple[float, float]:
    attack = PGD(ball, steps=20, **options)
    return ball.eps, float(judge.scores(attack.perturb(judge.scale_free(), judge.x)).mean())


def _flags(card: TaskCard) -> list[str]:
    flags = []
    if card.zero_gradients > MOST_ZERO_GRADIENTS:
        flags.append(
            f"{card.zero_gradients:.0%} of the samples have an input gradient of exactly zero; "
            "attacks on the usual loss cannot move them."
        )
    if card.score == "accuracy" and card.plain - card.scale_free > MOST_SCALE_GAIN:
        flags.append(
            f"PGD leaves {card.plain:.1%} on the usual loss but {card.scale_free:.1%} on one "
            "without a logit scale; the scale hides gradients."
        )
    if card.score == "accuracy" and card.attacks["PGD-50"] - card.attacks["FGSM"] > MOST_STEP_GAIN:
        flags.append(
            f"One step (FGSM) leaves {card.attacks['FGSM']:.1%}, fifty leave "
            f"{card.attacks['PGD-50']:.1%}; gradients mislead."
        )
    return flags


def _transfer(
    judges: Mapping[str, Judge], twins: Mapping[str, Tensor]
) -> dict[str, dict[str, float]]:
    """Scores of every task on the inputs made against every other; on their common samples."""
    return {
        source: {
            task: float(judge.scores(x).mean())
            for task, judge in judges.items()
            if len(x) == len(judge.x) and torch.equal(judges[source].x, judge.x)
        }
        for source, x in twins.items()
    }
