"""Mean absolute error in the unit a quantity is published in."""

from __future__ import annotations

import torch
from torch import Tensor
from torchmetrics import Metric


class AbsoluteError(Metric):
    """Mean absolute error of a set, of targets that were divided by a number for training.

    Args:
        scale: That number: the error is given in units of the targets before.
    """

    is_differentiable = False
    higher_is_better = False
    full_state_update = False

    def __init__(self, scale: float = 1.0) -> None:
        super().__init__()
        self.scale = scale
        self.add_state("total", torch.tensor(0.0), dist_reduce_fx="sum")
        self.add_state("count", torch.tensor(0), dist_reduce_fx="sum")

    def update(self, prediction: Tensor, target: Tensor) -> None:
        """Add numbers of equal shape."""
        self.total += (prediction.reshape(target.shape) - target).abs().sum()
        self.count += target.numel()

    def compute(self) -> Tensor:
        """The mean; ``nan`` if there was no number."""
        return self.scale * self.total / self.count
