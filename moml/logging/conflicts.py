"""Gradient conflicts for methods that never look at gradients."""

from __future__ import annotations

from moml.logging._base import positive
from moml.training.callback import Callback, Training


class Conflicts(Callback):
    """Forms the Gramian every few steps, so that logs can show cosines between gradients.

    Only of use with loss-only weightings, where it costs one backward pass per task at those steps;
    Gramian methods form it anyway. What is trained stays the same up to rounding: the step then
    reuses the rows.

    Args:
        every: Number of steps between Gramians, best a divisor or a multiple of the log's.

    Raises:
        ValueError: If ``every`` is below 1.
    """

    def __init__(self, every: int) -> None:
        self.every = positive("every", every)

    def before_update(self, training: Training) -> None:
        """Form the Gramian when it is time."""
        if (training.step + 1) % self.every == 0:
            assert training.evaluation is not None
            _ = training.evaluation.gramian
