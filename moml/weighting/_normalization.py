"""Factors that bring gradients of different tasks to a comparable size."""

from __future__ import annotations

from typing import Literal

from torch import Tensor

Normalization = Literal["none", "l2", "loss", "loss+"]

# Divisors below this fraction of the largest count as this fraction: squared factors stay finite.
_SMALLEST = 1e-20


def gradient_factors(
    by: Normalization, *, gramian: Tensor | None = None, losses: Tensor | None = None
) -> Tensor:
    """One factor per gradient: the inverse of its norm, its loss, or their product.

    A task whose norm or loss is zero takes part with the smallest factor of the others, so nothing
    becomes infinite; if all are zero, factors are 1.

    Args:
        by: ``l2`` norm, ``loss``, ``loss+`` (both), or ``none`` (ones).
        gramian: Inner products ``(*b, m, m)``, for ``l2`` and ``loss+``.
        losses: ``(*b, m)``, for ``loss``, ``loss+`` and ``none``.

    Raises:
        ValueError: If losses are needed and missing or negative.
    """
    if by in ("loss", "loss+"):
        _check_losses(by, losses)
    norms = None if gramian is None else gramian.diagonal(dim1=-2, dim2=-1).clamp_min(0.0).sqrt()
    if by == "none":
        size = losses if norms is None else norms
        assert size is not None
        return size.double().new_ones(size.shape)
    if by == "loss":
        assert losses is not None
        divisors = losses.detach().double()
    else:
        assert norms is not None
        divisors = norms if losses is None or by == "l2" else norms * losses.detach().double()
    largest = divisors.amax(-1, keepdim=True)
    largest = largest.where(largest > 0.0, 1.0)
    divisors = divisors.where(divisors > 0.0, largest)
    return 1.0 / divisors.maximum(_SMALLEST * largest)


def _check_losses(by: str, losses: Tensor | None) -> None:
    if losses is None:
        raise ValueError(f"`losses` should be given to normalise gradients by {by!r}, found None.")
    if not (losses >= 0.0).all():
        raise ValueError(
            f"`losses` should not be negative to normalise gradients by {by!r}, "
            f"found {losses.tolist()}. Use 'l2', or shift the losses."
        )
