"""Losses of which a method takes logarithms."""

from __future__ import annotations

from torch import Tensor

from moml.weighting._base import Weighting


def nonnegative_losses(
    weighting: Weighting, losses: Tensor, *, tasks: Tensor | None, floor: Tensor | None = None
) -> Tensor:
    """Losses above their lower bounds, float64; zeros are for the method to leave out.

    A loss that is never negative and is zero, as hinge and triplet losses often are, is at its
    minimum: its gradient is zero, and a logarithm has nothing to say about it.

    Args:
        weighting: The method, for the message.
        losses: ``(m,)``.
        tasks: Positions of the rows among all tasks ``(m,)``.
        floor: Lower bounds, ``(m,)``; zero unless given.

    Raises:
        ValueError: If one is below its bound, or NaN.
    """
    losses = losses.detach().double()
    above = losses if floor is None else losses - floor
    bad = ~(above >= 0.0)
    if bad.any():
        least = "negative" if floor is None else f"below `min_losses` {floor[bad].tolist()}"
        raise ValueError(
            f"`losses` should not be {least} for {type(weighting).__name__}, found "
            f"{losses[bad].tolist()} for task(s) {weighting._labels(bad, tasks)}. "
            "It takes their logarithms."
        )
    return above


def inverse(losses: Tensor) -> Tensor:
    """Derivatives of the logarithms, ``(m,)``; 0 for a loss of zero."""
    return (losses > 0.0) / losses.where(losses > 0.0, 1.0)
