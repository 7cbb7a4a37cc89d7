"""Bounds on the expected number of parameters."""

from __future__ import annotations

from torch import Tensor

from moml.nas.objective._base import SearchObjective, View


class SizeLimits(SearchObjective):
    r"""A constraint: how far the expected size is outside of its bounds, absent while inside.

    The hinge of E2RNAS's first form is zero, and so is its gradient, once it is satisfied; MGDA
    then finds the zero vector in the hull of the gradients and stops. Here a satisfied constraint
    has no row, and the others go on.

    Args:
        lowest: Smallest number of parameters; ``None`` for no bound.
        largest: Largest number of parameters; ``None`` for no bound.

    Raises:
        ValueError: If there is no bound, or no number between them.
    """

    def __init__(self, *, lowest: float | None = None, largest: float | None = None) -> None:
        if lowest is None and largest is None:
            raise ValueError("`lowest` or `largest` should be given, found neither.")
        if lowest is not None and largest is not None and lowest > largest:
            raise ValueError(f"`lowest` should not exceed `largest`, found {lowest} and {largest}.")
        self.lowest, self.largest = lowest, largest

    def __call__(self, view: View) -> Tensor | None:
        """The excess relative to the bound that is broken."""
        size = view.expected_parameters
        if self.lowest is not None and size.item() < self.lowest:
            return 1.0 - size / self.lowest
        if self.largest is not None and size.item() > self.largest:
            return size / self.largest - 1.0
        return None
