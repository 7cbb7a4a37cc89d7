"""The sum of absolute values: a budget that a few entries can use up.

Projection: J. Duchi, S. Shalev-Shwartz, Y. Singer, T. Chandra, "Efficient projections onto the
l1-ball for learning in high dimensions", ICML 2008. Steps: F. Tramèr, D. Boneh, "Adversarial
training and robustness for multiple perturbations", NeurIPS 2019 (SLIDE).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from moml.attack.ball._base import Ball, rows, uniform


class L1(Ball):
    r"""Perturbations with :math:`\sum_i |\delta_i| \le \epsilon`.

    The steepest step moves a single entry, which soon meets a bound of the data. As in SLIDE the
    step is spread evenly over the entries of largest gradient that can still move.

    Args:
        eps: Radius in the units of the data.
        share: Share of the entries that one step moves, rounded up; SLIDE's 1 % unless given.
            Larger shares were much weaker on images.

    Raises:
        ValueError: If ``eps`` is no radius or ``share`` is not in (0, 1].
    """

    sparse = True

    def __init__(self, eps: float, *, share: float = 0.01) -> None:
        super().__init__(eps)
        if not 0 < share <= 1:
            raise ValueError(f"`share` should be above 0 and at most 1, found {share}.")
        self.share = share

    def norm(self, delta: Tensor) -> Tensor:
        """Sum of absolute entries."""
        return rows(delta).abs().sum(1)

    def sample(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """Spacings of exponential draws, with random signs: uniform in the ball."""
        flat = rows(x)  # (B, D)
        draws = uniform(flat.new_empty(len(x), flat.shape[1] + 1), generator)
        draws = -torch.log1p(-draws)  # (B, D + 1) exponential
        sizes = (draws / draws.sum(1, keepdim=True).clamp(min=1e-30))[:, :-1]
        signs = torch.where(uniform(flat, generator) < 0.5, -1.0, 1.0)
        return (self.eps * sizes * signs).reshape(x.shape).to(x.dtype)

    def project(self, delta: Tensor) -> Tensor:
        """Soft thresholding, at the threshold that leaves a sum of ``eps``."""
        sizes = rows(delta).abs()  # (B, D)
        ordered = sizes.sort(1, descending=True).values.double()
        excess = ordered.cumsum(1) - self.eps
        count = torch.arange(1, sizes.shape[1] + 1, device=delta.device)
        kept = (ordered * count > excess).sum(1, keepdim=True).clamp(min=1)  # (B, 1)
        threshold = (excess.gather(1, kept - 1) / kept).clamp(min=0).to(delta.dtype)
        shrunk = rows(delta).sign() * (sizes - threshold).clamp(min=0)
        return shrunk.reshape(delta.shape)

    def steepest(self, gradient: Tensor, *, movable: Tensor | None = None) -> Tensor:
        """Equal steps of the entries with the largest gradients, of sum 1."""
        usable = gradient if movable is None else gradient * movable
        flat = rows(usable)  # (B, D)
        chosen = flat.abs().topk(math.ceil(self.share * flat.shape[1]), dim=1).indices
        step = torch.zeros_like(flat).scatter(1, chosen, flat.gather(1, chosen).sign())
        return (step / step.abs().sum(1, keepdim=True).clamp(min=1)).reshape(gradient.shape)
