"""A loss whose gradient is taken at once, together with that of whatever else one wants to know."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


def eager(
    loss: Tensor, inputs: Sequence[Tensor], *, beside: Sequence[Tensor] = ()
) -> tuple[Tensor, list[Tensor]]:
    """The same loss with its gradient known, and its gradient with respect to other tensors.

    One backward pass gives both: the direction of an attack costs nothing where the gradient with
    respect to parameters is needed anyway. The result can be differentiated once.

    Args:
        loss: A scalar with a graph, of which others may share a part.
        inputs: Tensors that the result depends on, with its gradient; those that require none are
            passed over.
        beside: Further tensors whose gradients are returned.
    """
    wanted = [t for t in inputs if t.requires_grad]
    found = torch.autograd.grad(
        loss, [*wanted, *beside], retain_graph=True, allow_unused=True, materialize_grads=True
    )
    cut = len(wanted)
    known: Tensor = _Known.apply(loss.detach(), found[:cut], *wanted)
    return known, list(found[cut:])


class _Known(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, value: Tensor, gradients: Sequence[Tensor], *inputs: Tensor) -> Tensor:
        ctx.gradients = gradients
        return value.clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        return (None, None, *(grad * known for known in ctx.gradients))
