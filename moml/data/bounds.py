"""The interval that valid inputs lie in."""

from __future__ import annotations

from torch import Tensor

Bounds = tuple[float | Tensor, float | Tensor]
"""Smallest and largest value: numbers, or tensors that broadcast with one input, as ``(C, 1, 1)``
for bounds per channel."""


def leaves_bounds(x: Tensor, bounds: Bounds | None) -> str:
    """Say in which range inputs lie that leave their bounds; empty if they keep to them.

    Args:
        x: Inputs, ``(B, ...)``.
        bounds: Their bounds; ``None`` if they have none.
    """
    if bounds is None or not x.is_floating_point() or x.numel() == 0:
        return ""
    low, high = (end.to(x) if isinstance(end, Tensor) else end for end in bounds)
    slack = 1e-6 * (high - low)  # rounding of a conversion
    outside = (x < low - slack) | (x > high + slack)
    if not bool(outside.any()):
        return ""
    return f"{float(x.min()):.4g} to {float(x.max()):.4g}"
