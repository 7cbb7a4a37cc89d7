"""Preferences that cover the simplex evenly."""

from __future__ import annotations

from itertools import combinations, pairwise

import torch
from torch import Tensor

from moml._support import checks


def spread(num_tasks: int, number: int) -> Tensor:
    """Evenly spread preferences, ``(number, num_tasks)``.

    For two tasks equal steps of the angle between the axes, ends included. For more, the points of
    the coarsest simplex lattice (Das & Dennis, 1998) with at least ``number`` points, thinned to
    ``number`` by taking the one farthest from those taken so far, corners first.

    Args:
        num_tasks: Number of tasks.
        number: How many; at least one per task.

    Raises:
        ValueError: If there are fewer than one per task, or fewer than two tasks.
    """
    checks.whole("num_tasks", num_tasks, least=2, unit="to have a front")
    if number < num_tasks:
        raise ValueError(
            f"`preferences` should be at least one per task ({num_tasks}), found {number}."
        )
    if num_tasks == 2:
        angles = torch.linspace(0.0, torch.pi / 2, number, dtype=torch.float64)
        rays = torch.stack([angles.cos(), angles.sin()], dim=1)
        rays[0], rays[-1] = torch.eye(2, dtype=torch.float64)
        return rays / rays.sum(1, keepdim=True)
    parts = 1
    while len(lattice := _lattice(num_tasks, parts)) < number:
        parts += 1
    corners = (lattice == 1.0).any(1).nonzero().flatten().tolist()
    chosen = corners[:number]
    nearest = torch.cdist(lattice, lattice[chosen]).amin(1)
    while len(chosen) < number:
        chosen.append(int(nearest.argmax()))
        nearest = torch.minimum(nearest, (lattice - lattice[chosen[-1]]).norm(dim=1))
    return lattice[chosen]


def _lattice(num_tasks: int, parts: int) -> Tensor:
    """All points whose coordinates are multiples of one over ``parts``."""
    points = []
    for bars in combinations(range(parts + num_tasks - 1), num_tasks - 1):
        edges = [-1, *bars, parts + num_tasks - 1]
        points.append([b - a - 1 for a, b in pairwise(edges)])
    return torch.tensor(points, dtype=torch.float64) / parts
