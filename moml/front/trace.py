"""One optimization per preference, and where to put the next one."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.optim import Optimizer

from moml.front.problems import AnalyticProblem
from moml.loop import fit
from moml.optim import GradientStep
from moml.oracle import Direct
from moml.weighting import Weighting

Solve = Callable[[list[float]], list[float]]
"""From a preference to the losses it leads to."""


def solver(
    make_problem: Callable[[], AnalyticProblem],
    make_weighting: Callable[[list[float]], Weighting],
    *,
    steps: int = 1000,
    learning_rate: float = 0.05,
) -> Solve:
    """Minimises an analytic problem: Adam with a cosine schedule, from the problem's own start.

    Args:
        make_problem: Makes a fresh problem at its start.
        make_weighting: Makes a weighting for a preference.
        steps: Steps per preference.
        learning_rate: Adam's, at the beginning; zero at the end.
    """

    def solve(preference: list[float]) -> list[float]:
        problem = make_problem()
        optimizer = torch.optim.Adam(problem.module.parameters(), learning_rate)
        updater = GradientStep(optimizer, scheduler=_cosine(steps))
        fit(problem, Direct(), make_weighting(preference), updater, [None], steps=steps)
        return [loss.item() for loss in problem.losses(None).values()]

    return solve


def trace(solve: Solve, preferences: Tensor) -> Tensor:
    """Losses that each preference leads to, ``(number, m)``."""
    return torch.tensor([solve(p) for p in preferences.tolist()], dtype=torch.float64)


def refine(solve: Solve, number: int, *, ray: bool) -> tuple[Tensor, Tensor]:
    """Two losses: both ends of the front, then always the middle of its widest gap.

    Evenly spread preferences are not evenly spread points: how they map depends on the front. A gap
    is the box between neighbours, relative to the box of both ends; the next preference aims at
    its centre, seen from the smallest losses found.

    Args:
        solve: Minimises for a preference.
        number: How many points, at least 2.
        ray: Whether losses are to be along the preference, or inverse to it.

    Returns:
        Preferences and losses, by rising first loss, ``(number, 2)`` each.
    """
    preferences = [[0.0, 1.0], [1.0, 0.0]] if ray else [[1.0, 0.0], [0.0, 1.0]]
    points = [solve(preference) for preference in preferences]
    for _ in range(number - 2):
        aim = _widest_gap(torch.tensor(points, dtype=torch.float64))
        parts = aim if ray else 1.0 / aim
        preferences.append((parts / parts.sum()).tolist())
        points.append(solve(preferences[-1]))
    found = torch.tensor(points, dtype=torch.float64)
    order = found[:, 0].argsort()
    return torch.tensor(preferences, dtype=torch.float64)[order], found[order]


def _widest_gap(points: Tensor) -> Tensor:
    """Centre of the widest gap, seen from the smallest losses found, ``(2,)``."""
    ordered = points[points[:, 0].argsort()]
    boxes = (ordered[1:] - ordered[:-1]).abs().prod(1)
    widest = int(boxes.argmax())
    centre = 0.5 * (ordered[widest] + ordered[widest + 1]) - points.amin(0)
    return centre.clamp_min(1e-9)


def _cosine(steps: int) -> Callable[[Optimizer], torch.optim.lr_scheduler.LRScheduler]:
    return lambda optimizer: torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
