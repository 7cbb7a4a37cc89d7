"""Losses of which a method takes logarithms."""

from __future__ import annotations

from torch import Tensor

from moml.weighting._base import Weighting


def positive_losses(weighting: Weighting, losses: Tensor, *, tasks: Tensor | None) -> Tensor:
    """The losses in float64.

    Raises:
        ValueError: If one is not positive.
    """
    losses = losses.detach().double()
    bad = ~(losses > 0.0)
    if bad.any():
        raise ValueError(
            f"`losses` should be positive for {type(weighting).__name__}, found "
            f"{losses[bad].tolist()} for task(s) {weighting._labels(bad, tasks)}. "
            "It takes their logarithms."
        )
    return losses
