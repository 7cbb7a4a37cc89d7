"""Inputs of half precision: perturbed in single precision, rounded towards the clean ones.

Rounded to the nearest, an input next to 1 may end 0.002 outside a ball of radius 0.03. Towards the
clean input no entry moves further than it was to, so the point is inside every ball and the bounds.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor

from moml.attack._objective import Measured, Objective

HALF = (torch.float16, torch.bfloat16)


def towards(x_adv: Tensor, x: Tensor) -> Tensor:
    """Points between ``x`` and ``x_adv`` that the type of ``x`` has, the last ones.

    Args:
        x_adv: ``(B, ...)`` in single precision.
        x: Clean inputs in half precision, ``(B, ...)``.
    """
    near: Tensor = _Towards.apply(x_adv, x)
    return near


class Rounded(Objective):
    """An objective of inputs in half precision, as one of inputs in single precision.

    Args:
        inner: The objective.
        x: Clean inputs in half precision.
    """

    def __init__(self, inner: Objective, x: Tensor) -> None:
        self.inner, self.x, self.bounds = inner, x, inner.bounds

    def measure(self, x: Tensor) -> Measured:
        """At the rounded inputs."""
        return self.inner.measure(towards(x, self.x))

    def select(self, kept: Tensor) -> Rounded:
        """The same for some of the samples."""
        return Rounded(self.inner.select(kept), self.x[kept])

    def without_goal(self) -> Rounded:
        """The same losses and nothing else."""
        return Rounded(self.inner.without_goal(), self.x)

    def held(self) -> AbstractContextManager[None]:
        """As the objective inside wants it."""
        return self.inner.held()


class _Towards(torch.autograd.Function):
    """Rounds; gradients pass."""

    @staticmethod
    def forward(ctx: Any, x_adv: Tensor, x: Tensor) -> Tensor:
        near = x_adv.to(x.dtype)
        clean = x.to(x_adv.dtype)
        beyond = (near.to(x_adv.dtype) - clean).abs() > (x_adv - clean).abs()
        return torch.where(beyond, torch.nextafter(near, x), near)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return gradient.float(), None
