"""Errors of a depth map over all pixels of a set (not the mean of per-batch means)."""

from __future__ import annotations

import torch
from torch import Tensor
from torchmetrics import Metric


class DepthError(Metric):
    """Mean error over the pixels whose depth is defined.

    Args:
        relative: Divide each pixel's error by its true depth.
        undefined: Depth that marks a pixel without a measurement.
    """

    is_differentiable = False
    higher_is_better = False
    full_state_update = False

    def __init__(self, *, relative: bool = False, undefined: float = 0.0) -> None:
        super().__init__()
        self.relative, self.undefined = relative, undefined
        self.add_state("total", torch.tensor(0.0), dist_reduce_fx="sum")
        self.add_state("count", torch.tensor(0), dist_reduce_fx="sum")

    def update(self, prediction: Tensor, target: Tensor) -> None:
        """Add a batch of maps of equal shape."""
        defined = target != self.undefined
        known = target[defined]
        error = (prediction.reshape(target.shape)[defined] - known).abs()
        if self.relative:
            error = error / known
        self.total += error.sum()
        self.count += defined.sum()

    def compute(self) -> Tensor:
        """The mean; ``nan`` if no pixel was defined."""
        return self.total / self.count
