"""The Euclidean norm: a budget for the whole sample."""

from __future__ import annotations

import torch
from torch import Tensor

from moml.attack.ball._base import Ball, normal, over, rows, uniform
from moml.attack.ball._plane import along

_ROUNDS = 50  # of Newton's method onto an ellipsoid; few are used


class L2(Ball):
    r"""Perturbations with :math:`\|\delta\|_2 \le \epsilon`; the steepest step is the gradient's.

    Args:
        eps: Radius in the units of the data; or radii, see `Ball`: then an ellipsoid.
        mutable: Entries that may change; all unless given.
    """

    def norm(self, delta: Tensor) -> Tensor:
        """Euclidean length."""
        return rows(self.unscaled(delta)).norm(dim=1)

    def sample(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """A uniform direction, at a distance whose D-th power is uniform."""
        changing = self.changing(x)
        direction = _unit(normal(x, generator) * changing)
        size = rows(changing).sum(1).clamp(min=1)  # (B,)
        distance = uniform(x.reshape(len(x), -1)[:, 0], generator) ** (1 / size)
        return self.scaled(self.eps * direction * over(distance, x))

    def project(self, delta: Tensor, *, box: tuple[Tensor, Tensor] | None = None) -> Tensor:
        """Shorten what is too long; onto an ellipsoid by its one multiplier."""
        if self.scale is not None:
            return _onto_ellipsoid(delta, (self.eps * self.scale).expand(delta.shape))
        length = self.norm(delta)  # (B,)
        return delta * over(torch.where(length > self.eps, self.eps / length, 1), delta)

    def steepest(self, gradient: Tensor, *, movable: Tensor | None = None) -> Tensor:
        """The gradient at unit length, also where its squares underflow."""
        return self.scaled(_unit(self.scaled(gradient)))

    def _distances(self, slopes: Tensor, scale: Tensor, room: Tensor, amount: Tensor) -> Tensor:
        top = slopes.amax(1, keepdim=True)
        return along(scale**2 * slopes / torch.where(top > 0, top, 1), slopes, room, amount)


def _unit(x: Tensor) -> Tensor:
    """Samples at unit length, zero where they are zero."""
    largest = rows(x).abs().amax(1)  # (B,)
    scaled = x / over(torch.where(largest > 0, largest, 1), x)
    return scaled / over(rows(scaled).norm(dim=1).clamp(min=1), x)  # 1 at least, if not zero


def _onto_ellipsoid(delta: Tensor, radii: Tensor) -> Tensor:
    r"""The nearest point with :math:`\sum_i (p_i / r_i)^2 \le 1`.

    It is :math:`p_i = \delta_i r_i^2 / (r_i^2 + \mu)` with the smallest :math:`\mu \ge 0` that is
    inside. The length of p/r is convex in the multiplier, its inverse nearly linear: Newton's
    method on the inverse comes from below and never oversteps.
    """
    wide = rows(delta).double()
    squares = rows(radii).to(wide) ** 2  # (B, D)
    top = squares.amax(1, keepdim=True)
    squares = squares / torch.where(top > 0, top, 1)  # of the radii, relative to the largest
    parts = wide**2 * squares / torch.where(top > 0, top, 1)  # (B, D)
    multiplier = wide.new_zeros(len(wide), 1)
    for _ in range(_ROUNDS):
        below = torch.where(squares > 0, squares + multiplier, 1)
        square = (parts / below**2).sum(1, keepdim=True)  # of the length
        slope = (parts / below**3).sum(1, keepdim=True)
        step = torch.where(square > 1, square * (square.sqrt() - 1) / slope, 0)
        multiplier = multiplier + step
        if not bool((step > 1e-15 * multiplier).any()):
            break
    below = torch.where(squares > 0, squares + multiplier, 1)
    length = (parts / below**2).sum(1, keepdim=True).sqrt()
    point = wide * squares / below / length.clamp(min=1)
    return point.reshape(delta.shape).to(delta.dtype)
