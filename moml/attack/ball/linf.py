"""The maximum norm: no entry moves by more than the radius."""

from __future__ import annotations

import torch
from torch import Tensor

from moml.attack.ball._base import Ball, rows, uniform
from moml.attack.ball._plane import along


class Linf(Ball):
    r"""Perturbations with :math:`\max_i |\delta_i| \le \epsilon`; the steepest step is the sign.

    Args:
        eps: Radius in the units of the data, such as 8/255; or radii, see `Ball`.
        mutable: Entries that may change; all unless given.
    """

    def norm(self, delta: Tensor) -> Tensor:
        """Largest absolute entry."""
        return rows(self.unscaled(delta)).abs().amax(1)

    def sample(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """Every entry uniform in [-eps, eps)."""
        return self.scaled((2 * uniform(x, generator) - 1) * self.eps)

    def project(self, delta: Tensor, *, box: tuple[Tensor, Tensor] | None = None) -> Tensor:
        """Clip every entry."""
        if self.scale is None:
            return delta.clamp(-self.eps, self.eps)
        radii = (self.eps * self.scale).to(delta)
        return delta.clamp(-radii, radii)

    def steepest(self, gradient: Tensor, *, movable: Tensor | None = None) -> Tensor:
        """Sign of every entry."""
        return self.scaled(gradient.sign())

    def _distances(self, slopes: Tensor, scale: Tensor, room: Tensor, amount: Tensor) -> Tensor:
        return along(scale, slopes, room, amount)
