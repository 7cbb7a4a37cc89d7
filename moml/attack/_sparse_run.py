"""Auto-PGD in the L1 ball: how many entries a step moves adapts to how many are in use.

F. Croce, M. Hein, "Mind the box: l1-APGD for sparse adversarial attacks on image classifiers", ICML
2021. There is no momentum: it would go on with entries that the last gradient did not choose.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from moml.attack._region import Region
from moml.attack._run import AscentRun
from moml.attack.ball import Ball, over
from moml.attack.ball.l1 import sparse_step

FIRST_SHARE = 0.2  # of all entries that the first step moves
FEWER = 1.5  # a step moves this many times fewer entries than the best point has changed
SPARSER = 0.95  # below this ratio of changed entries steps are long again
SHRINK, LEAST = 1.5, 0.1  # factor of step sizes, and the smallest one over eps
EVERY = 0.04  # share of the steps between two checkpoints


@dataclass
class SparseRun(AscentRun):
    """Steps from ``eps`` on, shorter as long as the number of changed entries stays the same.

    Attributes:
        counts: Entries that a step moves, ``(B,)``; rounded up, or a point of few changed entries
            could hardly change others.
        changed: Entries that the best point had changed at the last checkpoint, ``(B,)``.
        longest: The first step size, ``(B,)``.
    """

    counts: Tensor
    changed: Tensor
    longest: Tensor

    @classmethod
    def started(cls, rows: Tensor, x: Tensor, start: Tensor, ball: Ball) -> Self:
        """A run that has seen nothing yet; from a sparse point it moves few entries at once."""
        infinite, size = x.new_full((len(x),), float("inf")), x.new_full((len(x),), ball.eps)
        changed = _changed(start, x)
        return cls(
            rows, x, start, gradient=start, best=start, best_gradient=start, best_loss=-infinite,
            size=size, counts=(changed / FEWER).ceil().clamp(max=FIRST_SHARE * x[0].numel()),
            changed=changed, longest=size,
        )  # fmt: skip

    @staticmethod
    def checkpoints(steps: int) -> dict[int, int]:
        """Checkpoint to steps since the one before."""
        interval = max(int(EVERY * steps), 1)
        return dict.fromkeys(range(interval, steps, interval), interval)

    def adapt(self, interval: int) -> None:
        """Long steps again where the best point has become sparser, shorter ones elsewhere."""
        changed = _changed(self.best, self.x)
        sparser = changed < SPARSER * self.changed
        shorter = torch.maximum(self.size / SHRINK, LEAST * self.longest)
        self.size = torch.where(sparser, self.longest, shorter)
        self.back(sparser)
        self.counts, self.changed = (changed / FEWER).ceil(), changed

    def move(self, region: Region, *, first: bool) -> None:
        """A projected step of the entries with the largest gradients."""
        ball = region.ball
        step = ball.scaled(sparse_step(ball.scaled(self.gradient), self.counts))
        self.x_adv = region.inside(self.x_adv + over(self.size, self.x) * step)


def _changed(best: Tensor, x: Tensor) -> Tensor:
    """Entries that differ from the clean ones, ``(B,)``."""
    return (best != x).reshape(len(x), -1).sum(1).to(x.dtype)
