"""Auto-PGD's own rule: momentum, and halved steps where nothing is gained."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from moml.attack._region import Region
from moml.attack._run import AscentRun
from moml.attack.ball import Ball, over

FIRST, SHRINK, LEAST = 22, 3, 6  # checkpoint intervals, in percent of all steps
INCREASES, MOMENTUM = 0.75, 0.75


@dataclass
class HalvingRun(AscentRun):
    """Steps from ``2 eps`` on, halved where losses rise too rarely.

    Attributes:
        previous: Where the samples were before.
        loss: Loss of the current point, ``(B,)``.
        rises: How often it rose since the last checkpoint, ``(B,)``.
        checked_loss: The best one at the last checkpoint, ``(B,)``.
        halved: Whether the last checkpoint halved the step size, ``(B,)``.
    """

    previous: Tensor
    loss: Tensor
    rises: Tensor
    checked_loss: Tensor
    halved: Tensor

    @classmethod
    def started(cls, rows: Tensor, x: Tensor, start: Tensor, ball: Ball) -> Self:
        """A run that has seen nothing yet."""
        one, infinite = torch.ones_like(rows), x.new_full((len(x),), float("inf"))
        return cls(
            rows, x, start, gradient=start, best=start, best_gradient=start,
            best_loss=-infinite, size=torch.full_like(infinite, 2 * ball.eps), previous=start,
            loss=infinite, rises=0 * one, checked_loss=infinite, halved=one.bool(),
        )  # fmt: skip

    @staticmethod
    def checkpoints(steps: int) -> dict[int, int]:
        """Checkpoint to steps since the one before."""
        intervals: dict[int, int] = {}
        interval = checkpoint = FIRST
        last = 0
        while checkpoint <= 100:
            at = max(-(-checkpoint * steps // 100), last + 1)  # rounded up
            intervals[at], last = at - last, at
            interval = max(interval - SHRINK, LEAST)
            checkpoint += interval
        return intervals

    def observe(self, loss: Tensor, gradient: Tensor) -> None:
        """Count rises as well."""
        self.rises = self.rises + (loss > self.loss)
        self.loss = loss
        super().observe(loss, gradient)

    def adapt(self, interval: int) -> None:
        """Halve steps where losses rose too rarely, or nothing was gained with these steps."""
        rare = self.rises < INCREASES * interval
        stuck = ~self.halved & (self.best_loss <= self.checked_loss)
        self.halved = rare | stuck
        self.size = torch.where(self.halved, self.size / 2, self.size)
        self.back(self.halved)
        self.rises, self.checked_loss = torch.zeros_like(self.rises), self.best_loss

    def move(self, region: Region, *, first: bool) -> None:
        """A projected step, mixed with the one before."""
        share = 1.0 if first else MOMENTUM
        step = over(self.size, self.x) * region.ball.steepest(self.gradient)
        point = region.inside(self.x_adv + step)
        past = self.x_adv - self.previous
        point = self.x_adv + share * (point - self.x_adv) + (1 - share) * past
        self.previous = self.x_adv
        self.x_adv = region.inside(point)
