"""Dropping labels at random, to make a suite partly labelled."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor


def check_share(missing: float) -> None:
    """Raise unless ``missing`` is a share of labels that leaves some."""
    if not 0 <= missing < 1:
        raise ValueError(f"`missing` should be at least 0 and below 1, found {missing}.")


def present_labels(
    tasks: Iterable[str], count: int, *, missing: float, seed: int
) -> dict[str, Tensor] | None:
    """Which of ``count`` samples keep their label, drawn for each task; at least one always does.

    Args:
        tasks: Task names.
        count: Number of samples.
        missing: Share of labels to drop; exact up to rounding.
        seed: Seed of the draw.
    """
    if missing == 0:
        return None
    generator = torch.Generator().manual_seed(seed)
    kept = max(1, count - round(missing * count))
    present = {}
    for task in tasks:
        mask = torch.zeros(count, dtype=torch.bool)
        mask[torch.randperm(count, generator=generator)[:kept]] = True
        present[task] = mask
    return present
