"""Mean absolute error, of entries that are defined."""

from __future__ import annotations

import torch
from torch import Tensor

from moml._support import checks
from moml.losses._base import EntrywiseLoss, _defined, _not_finite, aligned


class MaskedL1(EntrywiseLoss):
    """Absolute error that skips undefined entries, such as depth where nothing was measured.

    Args:
        undefined: Target value that marks an undefined entry; may be ``nan``.
    """

    def __init__(self, *, undefined: float = 0.0) -> None:
        self.undefined = checks.number("undefined", undefined, infinite=True, nan=True)

    def entries(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Absolute error of every number."""
        prediction, defined = aligned(prediction, target), self.weights(target)
        known = torch.where(defined, target, 0).to(prediction.dtype)
        return torch.where(defined, (prediction - known).abs(), 0)

    def defined(self, target: Tensor) -> Tensor:
        """Numbers other than the mark."""
        return _defined(target, self.undefined)

    def weights(self, target: Tensor) -> Tensor:
        """Which numbers are defined."""
        return _defined(target, self.undefined)

    def check(self, target: Tensor) -> str | None:
        """Defined numbers should be finite."""
        return _not_finite(target[_defined(target, self.undefined)])
