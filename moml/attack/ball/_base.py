"""A norm ball around zero, as an attack sees it: three operations, one ball per sample."""

from __future__ import annotations

import copy
import math
from abc import ABC, abstractmethod
from typing import ClassVar, Self

import torch
from torch import Tensor


class Ball(ABC):
    """Perturbations of norm at most ``eps``; dimension 0 of every tensor counts samples.

    An attack clamps to the bounds of the data afterwards, which never leaves the ball, since the
    clean sample lies within them.

    Args:
        eps: Radius in the units of the data.

    Raises:
        ValueError: If the radius is negative, infinite or NaN.
    """

    sparse: ClassVar[bool] = False
    """Whether steps move few entries, so that it matters which of them still can."""

    def __init__(self, eps: float) -> None:
        if not (math.isfinite(eps) and eps >= 0):
            raise ValueError(f"`eps` should be a finite number, at least 0, found {eps}.")
        self.eps = float(eps)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{k}={v}' for k, v in vars(self).items())})"

    def resized(self, eps: float) -> Self:
        """The same ball with another radius."""
        other = copy.copy(self)
        other.eps = eps
        return other

    @abstractmethod
    def norm(self, delta: Tensor) -> Tensor:
        """Norm of every sample's perturbation, ``(B,)``."""

    @abstractmethod
    def sample(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """Perturbations uniform in the ball, shaped like ``x``.

        They are drawn on the generator's device: a CPU generator gives the same on every device.
        """

    @abstractmethod
    def project(self, delta: Tensor, *, box: tuple[Tensor, Tensor] | None = None) -> Tensor:
        """The nearest point of the ball, in the Euclidean sense.

        Args:
            delta: ``(B, ...)``.
            box: Smallest and largest value of every entry, at most and at least zero; the point is
                then the nearest one within both. Only `sparse` balls look at it.
        """

    @abstractmethod
    def steepest(self, gradient: Tensor, *, movable: Tensor | None = None) -> Tensor:
        """Direction of norm 1 that raises the loss most, zero where the gradient is zero.

        Args:
            gradient: ``(B, ...)``, finite.
            movable: Entries that may still move along the gradient before they meet a bound of the
                data, a mask ``(B, ...)``. Only `sparse` balls look at it.
        """


def rows(x: Tensor) -> Tensor:
    """One row a sample, ``(B, D)``."""
    return x.reshape(len(x), -1)


def normal(x: Tensor, generator: torch.Generator) -> Tensor:
    """Standard normal numbers, shaped like ``x``."""
    draw = torch.randn(x.shape, generator=generator, device=generator.device, dtype=x.dtype)
    return draw.to(x.device)


def uniform(x: Tensor, generator: torch.Generator) -> Tensor:
    """Numbers uniform in [0, 1), shaped like ``x``."""
    draw = torch.rand(x.shape, generator=generator, device=generator.device, dtype=x.dtype)
    return draw.to(x.device)
