"""Expectation over transformation: what a random model does on average.

A. Athalye, N. Carlini, D. Wagner, "Obfuscated gradients give a false sense of security", ICML 2018.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor

from moml.attack._ascent import input_gradient
from moml.attack._objective import Measured, Objective


class Expected(Objective):
    """Means of an objective over several forward passes, for models that are random.

    Losses and gradients are averaged, and a goal is reached where most passes reach it: one lucky
    pass does not end an attack. Gradients are taken pass by pass, in the memory of one.

    Args:
        inner: The objective.
        passes: Forward passes per look.

    Raises:
        ValueError: If there is none.
    """

    def __init__(self, inner: Objective, passes: int) -> None:
        if passes < 1:
            raise ValueError(f"`eot` should be at least 1, found {passes}.")
        self.inner, self.passes, self.bounds = inner, passes, inner.bounds

    def measure(self, x: Tensor) -> Measured:
        """Means over the passes."""
        losses, reached, jacobian = [], [], []
        for _ in range(self.passes):
            one = self.inner.measure(x)
            losses.append(one.losses.detach())
            if one.reached is not None:
                reached.append(one.reached.double())
            if torch.is_grad_enabled() and x.requires_grad:
                jacobian.append(_jacobian(one.losses, x))
        mean = torch.stack(losses).mean(0)
        if jacobian:
            mean = _Linear.apply(x, mean, torch.stack(jacobian).mean(0))
        most = torch.stack(reached).mean(0) > 0.5 if reached else None
        return Measured(mean, most)

    def select(self, kept: Tensor) -> Expected:
        """The same for some of the samples."""
        return Expected(self.inner.select(kept), self.passes)

    def without_goal(self) -> Expected:
        """The same losses and nothing else."""
        return Expected(self.inner.without_goal(), self.passes)

    def held(self) -> AbstractContextManager[None]:
        """As the objective inside wants it."""
        return self.inner.held()


def _jacobian(losses: Tensor, x: Tensor) -> Tensor:
    """Gradients of every task's losses, ``(T, B, ...)``."""
    columns = losses.reshape(len(losses), -1).unbind(1)
    last = len(columns) - 1
    return torch.stack(
        [input_gradient(c.sum(), x, retain_graph=t < last) for t, c in enumerate(columns)]
    )


class _Linear(torch.autograd.Function):
    """Given values with given gradients."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, values: Tensor, jacobian: Tensor) -> Tensor:
        ctx.save_for_backward(jacobian)
        return values.clone()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        (jacobian,) = ctx.saved_tensors
        weights = gradient.reshape(len(gradient), -1).T  # (T, B)
        weights = weights.reshape(*weights.shape, *[1] * (jacobian.dim() - 2))
        return (weights * jacobian).sum(0), None, None
