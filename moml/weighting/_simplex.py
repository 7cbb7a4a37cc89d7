"""Euclidean projection onto the probability simplex."""

from __future__ import annotations

import torch
from torch import Tensor


def project_onto_simplex(point: Tensor) -> Tensor:
    """The nearest weights that are non-negative and sum to 1, ``(m,)``.

    By sorting: the projection subtracts one number from all entries and cuts off at zero.

    Raises:
        ValueError: If the point is not finite.
    """
    if not point.isfinite().all():
        raise ValueError(
            f"`point` should be finite, found {point.tolist()}. Its gradients are not."
        )
    point = point - point.max()  # changes nothing but rounding
    values = point.sort(descending=True).values
    count = torch.arange(1, len(point) + 1, dtype=point.dtype)
    levels = (values.cumsum(0) - 1.0) / count
    last = int((values > levels).nonzero()[-1])
    weights = (point - levels[last]).clamp_min(0.0)
    return weights / weights.sum()
