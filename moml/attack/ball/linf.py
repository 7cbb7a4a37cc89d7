"""The maximum norm: no entry moves by more than the radius."""

from __future__ import annotations

import torch
from torch import Tensor

from moml.attack.ball._base import Ball, rows, uniform


class Linf(Ball):
    r"""Perturbations with :math:`\max_i |\delta_i| \le \epsilon`; the steepest step is the sign.

    Args:
        eps: Radius in the units of the data, such as 8/255.
    """

    def norm(self, delta: Tensor) -> Tensor:
        """Largest absolute entry."""
        return rows(delta).abs().amax(1)

    def sample(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """Every entry uniform in [-eps, eps)."""
        return (2 * uniform(x, generator) - 1) * self.eps

    def project(self, delta: Tensor, *, box: tuple[Tensor, Tensor] | None = None) -> Tensor:
        """Clip every entry."""
        return delta.clamp(-self.eps, self.eps)

    def steepest(self, gradient: Tensor, *, movable: Tensor | None = None) -> Tensor:
        """Sign of every entry."""
        return gradient.sign()
