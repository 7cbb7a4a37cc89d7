"""Adam on a vector with one entry per task, where some tasks may be absent."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class TaskwiseAdam(nn.Module):
    """Adam's step for a method's own per-task numbers; an absent task's state does not move.

    Args:
        num_tasks: Number of tasks.
        lr: Step size.
        betas: Decay rates of the two moments.
    """

    first: Tensor
    second: Tensor
    count: Tensor

    def __init__(
        self, num_tasks: int, *, lr: float, betas: tuple[float, float] = (0.9, 0.999)
    ) -> None:
        super().__init__()
        self.lr, self.betas = lr, betas
        for name in ("first", "second"):
            self.register_buffer(name, torch.zeros(num_tasks, dtype=torch.float64))
        self.register_buffer("count", torch.zeros(num_tasks, dtype=torch.long))

    def step(self, gradient: Tensor, tasks: Tensor) -> Tensor:
        """What to subtract from the entries of the tasks present, ``(m,)``."""
        a, b = self.betas
        self.count[tasks] += 1
        self.first[tasks] = a * self.first[tasks] + (1 - a) * gradient
        self.second[tasks] = b * self.second[tasks] + (1 - b) * gradient.square()
        count = self.count[tasks]
        mean, square = self.first[tasks] / (1 - a**count), self.second[tasks] / (1 - b**count)
        return self.lr * mean / (square.sqrt() + 1e-8)
