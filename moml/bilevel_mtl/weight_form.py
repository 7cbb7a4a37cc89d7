"""From the numbers that are learnt to the weights of the tasks."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor

from moml._support import checks


class WeightForm(ABC):
    """How task weights depend on the upper variable, one number per task."""

    @abstractmethod
    def initial(self, count: int) -> Tensor:
        """Where the upper variable starts, ``(m,)``, float64."""

    @abstractmethod
    def weights(self, omega: Tensor) -> Tensor:
        """Weights of the tasks, ``(m,)``, differentiable."""


class SoftmaxWeights(WeightForm):
    """Weights on the simplex: softmax of logits that start at 1/m, as in MOML's released code."""

    def initial(self, count: int) -> Tensor:
        """Equal logits."""
        return torch.full((count,), 1.0 / count, dtype=torch.float64)

    def weights(self, omega: Tensor) -> Tensor:
        """Softmax."""
        return omega.softmax(0)


class FreeWeights(WeightForm):
    """The numbers themselves, as in Auto-Lambda; one below zero counts as zero.

    The derivative is passed on there too, so that a weight can come back.

    Args:
        start: Every task's weight at the start.
    """

    def __init__(self, start: float = 0.1) -> None:
        checks.number("start", start, above=0)
        self.start = start

    def initial(self, count: int) -> Tensor:
        """Equal weights."""
        return torch.full((count,), self.start, dtype=torch.float64)

    def weights(self, omega: Tensor) -> Tensor:
        """The non-negative part, with derivative one."""
        return omega + (omega.clamp_min(0.0) - omega).detach()
