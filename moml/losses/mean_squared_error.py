"""Mean squared error, of entries that are defined."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from moml._support import checks
from moml.losses._base import EntrywiseLoss, _defined, _not_finite, aligned


class MeanSquaredError(EntrywiseLoss):
    """Squared error against real numbers.

    Args:
        undefined: Target value that marks an undefined entry, may be ``nan``; ``None``: every entry
            is defined.
    """

    def __init__(self, *, undefined: float | None = None) -> None:
        self.undefined = undefined
        if undefined is not None:
            checks.number("undefined", undefined, infinite=True, nan=True)

    def entries(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Squared error of every number."""
        prediction = aligned(prediction, target)
        if self.undefined is None:
            return functional.mse_loss(prediction, target.to(prediction.dtype), reduction="none")
        defined = self.weights(target)
        known = torch.where(defined, target, 0).to(prediction.dtype)
        return torch.where(defined, (prediction - known).square(), 0)

    def defined(self, target: Tensor) -> Tensor:
        """Numbers other than the mark."""
        if self.undefined is None:
            return super().defined(target)
        return _defined(target, self.undefined)

    def weights(self, target: Tensor) -> Tensor:
        """Which numbers are defined."""
        if self.undefined is None:
            return torch.ones_like(target, dtype=torch.bool)
        return _defined(target, self.undefined)

    def count(self, target: Tensor) -> Tensor | float:
        """Number of defined entries."""
        return float(target.numel()) if self.undefined is None else super().count(target)

    def __call__(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Mean squared error."""
        if target.numel() == 0:
            return prediction.sum()  # nothing to sum: 0, still part of the graph
        if self.undefined is not None:
            return super().__call__(prediction, target)
        prediction = aligned(prediction, target)
        return functional.mse_loss(prediction, target.to(prediction.dtype))

    def check(self, target: Tensor) -> str | None:
        """Defined numbers should be finite."""
        if self.undefined is not None:
            target = target[_defined(target, self.undefined)]
        return _not_finite(target)
