"""What one run of Auto-PGD knows of every sample that takes part."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, fields
from typing import Self

import torch
from torch import Tensor

from moml.attack._region import Region
from moml.attack.ball import over


@dataclass
class AscentRun(ABC):
    """Points, gradients and step sizes, ``(B, ...)``; subclasses say how steps adapt.

    Attributes:
        rows: Indices of the samples in the batch, ``(B,)``.
        x: Clean samples.
        x_adv: Where they are.
        gradient: The gradient there.
        best: The point of highest loss.
        best_gradient: The gradient there.
        best_loss: Its loss, ``(B,)``.
        size: Length of the next step, ``(B,)``.
    """

    rows: Tensor
    x: Tensor
    x_adv: Tensor
    gradient: Tensor
    best: Tensor
    best_gradient: Tensor
    best_loss: Tensor
    size: Tensor

    def select(self, kept: Tensor) -> Self:
        """The samples at ``kept`` only."""
        return type(self)(*(getattr(self, field.name)[kept] for field in fields(self)))

    def observe(self, loss: Tensor, gradient: Tensor) -> None:
        """Take in loss and gradient of the current point."""
        better = loss > self.best_loss
        self.gradient = gradient
        self.best_loss = torch.where(better, loss, self.best_loss)
        self.best = torch.where(over(better, gradient), self.x_adv, self.best)
        self.best_gradient = torch.where(over(better, gradient), gradient, self.best_gradient)

    @abstractmethod
    def adapt(self, interval: int) -> None:
        """Choose how to go on, ``interval`` steps after the last time."""

    @abstractmethod
    def move(self, region: Region, *, first: bool) -> None:
        """Take a step."""

    @staticmethod
    @abstractmethod
    def checkpoints(steps: int) -> dict[int, int]:
        """After which steps to adapt, and how many there were since the checkpoint before."""

    def back(self, chosen: Tensor) -> None:
        """Return to the best point where ``chosen``, ``(B,)``."""
        where = over(chosen, self.x)
        self.x_adv = torch.where(where, self.best, self.x_adv)
        self.gradient = torch.where(where, self.best_gradient, self.gradient)
