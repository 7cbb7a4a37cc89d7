"""Clusters of numbers on a line, exactly."""

from __future__ import annotations

import torch
from torch import Tensor


def clusters(values: Tensor, number: int) -> Tensor:
    """Least-squares clusters, by dynamic programming over the sorted values.

    Args:
        values: ``(K,)``.
        number: How many clusters; at most K.

    Returns:
        The cluster of each value, counted from the smallest values, ``(K,)``.
    """
    order = values.argsort(stable=True)
    points = values[order].tolist()
    best = [[_scatter(points[: end + 1]) for end in range(len(points))]]
    cuts: list[list[int]] = [[0] * len(points)]  # where the last cluster starts
    for _ in range(1, number):
        costs, starts = [], []
        for end in range(len(points)):
            options = [
                (best[-1][start - 1] + _scatter(points[start : end + 1]), start)
                for start in range(1, end + 1)
            ]
            cost, start = min(options, default=(0.0, 0))
            costs.append(cost)
            starts.append(start)
        best.append(costs)
        cuts.append(starts)
    found = torch.zeros(len(points), dtype=torch.long)
    end = len(points)
    for level in range(number - 1, -1, -1):
        start = cuts[level][end - 1] if end else 0
        found[order[start:end]] = level
        end = start
    return found


def _scatter(points: list[float]) -> float:
    mean = sum(points) / len(points)
    return sum((point - mean) ** 2 for point in points)
