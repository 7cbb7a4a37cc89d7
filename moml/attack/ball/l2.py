"""The Euclidean norm: a budget for the whole sample."""

from __future__ import annotations

import torch
from torch import Tensor

from moml.attack.ball._base import Ball, normal, rows, uniform


class L2(Ball):
    r"""Perturbations with :math:`\|\delta\|_2 \le \epsilon`; the steepest step is the gradient's.

    Args:
        eps: Radius in the units of the data.
    """

    def norm(self, delta: Tensor) -> Tensor:
        """Euclidean length."""
        return rows(delta).norm(dim=1)

    def sample(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """A uniform direction, at a distance whose D-th power is uniform."""
        direction = self.steepest(normal(x, generator))
        size = rows(x).shape[1]
        distance = uniform(x.reshape(len(x), -1)[:, 0], generator) ** (1 / size)  # (B,)
        return self.eps * direction * _over(distance, x)

    def project(self, delta: Tensor, *, box: tuple[Tensor, Tensor] | None = None) -> Tensor:
        """Shorten what is too long."""
        length = self.norm(delta)  # (B,)
        return delta * _over(torch.where(length > self.eps, self.eps / length, 1), delta)

    def steepest(self, gradient: Tensor, *, movable: Tensor | None = None) -> Tensor:
        """The gradient at unit length, also where its squares underflow."""
        largest = rows(gradient).abs().amax(1)  # (B,)
        scaled = gradient / _over(torch.where(largest > 0, largest, 1), gradient)
        return scaled / _over(self.norm(scaled).clamp(min=1), gradient)  # 1 at least, if not zero


def _over(factors: Tensor, x: Tensor) -> Tensor:
    """One factor a sample, ``(B,)``, shaped to multiply ``x``."""
    return factors.reshape(-1, *[1] * (x.dim() - 1))
