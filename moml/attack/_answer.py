"""The best perturbation of every sample so far."""

from __future__ import annotations

import torch
from torch import Tensor


class Answer:
    """Keeps, per sample, what reached the goal, else what had the highest loss.

    Args:
        x: Clean samples ``(B, ...)``, the answer until something is offered.
    """

    def __init__(self, x: Tensor) -> None:
        self.x = x.clone()
        self.loss = x.new_full((len(x),), float("-inf"))
        self.reached = torch.zeros(len(x), dtype=torch.bool, device=x.device)

    def open(self) -> Tensor:
        """Indices of the samples whose goal is not reached."""
        return (~self.reached).nonzero()[:, 0]

    def offer(self, kept: Tensor, x: Tensor, loss: Tensor, reached: Tensor) -> None:
        """Take what is better among new perturbations of the samples at ``kept``."""
        higher = (loss > self.loss[kept]) & (reached == self.reached[kept])
        better = higher | (reached & ~self.reached[kept])
        chosen = kept[better]
        self.x[chosen], self.loss[chosen] = x[better], loss[better].to(self.loss.dtype)
        self.reached[chosen] = reached[better]
