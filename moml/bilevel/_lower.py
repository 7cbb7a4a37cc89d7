"""The lower level of one step: loss and gradient as functions of lower variables only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from moml._support.autograd_errors import explained
from moml.bilevel._problem import BilevelProblem, Params

Tensors = list[Tensor]


@dataclass(frozen=True)
class LowerLevel:
    """A problem's lower level with upper parameters and data filled in.

    Attributes:
        problem: The problem.
        omega: Upper parameters, with gradients.
        batches: Data of the lower steps, repeated from the start.
        names: Names of the lower variables, in the order of all lists of tensors.
        blocks: Independent lower levels stacked along the variables' first dimension.
    """

    problem: BilevelProblem
    omega: Mapping[str, Tensor]
    batches: Sequence[Any]
    names: tuple[str, ...]
    blocks: int = 1

    def named(self, theta: Sequence[Tensor]) -> Params:
        """Lower variables by name."""
        return dict(zip(self.names, theta, strict=True))

    def detached(self) -> LowerLevel:
        """The same without a path to the upper parameters, which costs time to record."""
        return replace(self, omega={name: t.detach() for name, t in self.omega.items()})

    def loss(self, theta: Sequence[Tensor], step: int) -> Tensor:
        """The lower loss before a step."""
        batch = self.batches[step % len(self.batches)]
        return self.problem.lower_loss_at(self.named(theta), self.omega, batch, step)

    def gradient(self, theta: Sequence[Tensor], step: int, *, create_graph: bool) -> Tensors:
        """What the lower variables step against: the lower loss's gradient, turned for climbers."""
        return self.turned(_gradient(self.loss(theta, step), theta, create_graph))

    def turned(self, field: Tensors) -> Tensors:
        """A field over the lower variables with the sign of those that climb changed."""
        climbers = self.problem.ascends()
        if not climbers:
            return field
        return [-g if n in climbers else g for n, g in zip(self.names, field, strict=True)]

    def training_gradient(self, theta: Sequence[Tensor], step: int) -> Tensors:
        """The same for a step that is really taken."""
        batch = self.batches[step % len(self.batches)]
        loss = self.problem.training_loss(self.named(theta), self.omega, batch)
        return self.turned(_gradient(loss, theta, False))

    def rates(self, step: int) -> list[Tensor] | None:
        """The problem's learning rates, if it has any for every variable."""
        rates = self.problem.inner_rates(self.omega, step)
        return None if rates is None else [rates[name] for name in self.names]

    def linearise(self, theta: Sequence[Tensor]) -> tuple[Tensors, Tensors]:
        """Fresh leaves at ``theta`` and, with a graph, the gradient of the loss over all batches.

        The graph depends on the leaves and on the upper parameters: pulling back through it gives
        products with the Hessian and with the mixed derivative.
        """
        leaves = fresh(theta)
        named = self.named(leaves)
        losses = [self.problem.lower_loss(named, self.omega, batch) for batch in self.batches]
        loss = losses[0] if len(losses) == 1 else torch.stack(losses).mean()
        return leaves, _gradient(loss, leaves, True)


def fresh(tensors: Sequence[Tensor]) -> Tensors:
    """Leaves with the same values."""
    return [t.detach().requires_grad_() for t in tensors]


def _gradient(loss: Tensor, theta: Sequence[Tensor], create_graph: bool) -> Tensors:
    if loss.dim() != 0:
        raise ValueError(f"`lower_loss` should be a scalar, found shape {tuple(loss.shape)}.")
    if not loss.requires_grad:
        raise ValueError(
            "`lower_loss` should depend on the lower variables, found that it does not. "
            "Compute it from the `theta` it is given (`torch.func.functional_call`)."
        )
    with explained():
        return list(
            torch.autograd.grad(
                loss,
                list(theta),
                create_graph=create_graph,
                allow_unused=True,
                materialize_grads=True,
            )
        )
