"""From the losses of several tasks to one direction of ascent for every sample."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from torch import Tensor


class Ascent(ABC):
    """Says which gradient a perturbation follows when there are several losses."""

    uses_goals: ClassVar[bool] = True
    """Whether it looks at where goals are reached; if not, attacks may not look either."""

    @abstractmethod
    def gradient(self, losses: Tensor, reached: Tensor | None, x: Tensor) -> Tensor:
        """The gradient to follow, shaped like ``x``.

        All samples of a step are there, also those whose every goal is reached; what is given for
        them is not used.

        Args:
            losses: ``(B, T)``, part of the graph of ``x``; ``T`` is 1 for a single loss.
            reached: Where the goal is reached, bools ``(B, T)``, if there is one.
            x: The leaf ``(B, ...)`` to differentiate with respect to. Only `torch.autograd.grad`
                may be used: nothing may be written to the ``.grad`` of a parameter.
        """


class TotalLoss(Ascent):
    """The gradient of the sum of all losses."""

    uses_goals = False

    def gradient(self, losses: Tensor, reached: Tensor | None, x: Tensor) -> Tensor:
        """One backward pass."""
        return input_gradient(losses.sum(), x)

    def __repr__(self) -> str:
        return "TotalLoss()"


def input_gradient(loss: Tensor, x: Tensor, *, retain_graph: bool = False) -> Tensor:
    """Gradient of a scalar with respect to ``x`` and nothing else.

    Raises:
        ValueError: If the loss does not depend on ``x``.
    """
    if loss.requires_grad:
        (gradient,) = torch.autograd.grad(loss, x, retain_graph=retain_graph, allow_unused=True)
        if gradient is not None:
            return gradient
    raise ValueError(
        "`loss` should depend on the attacked inputs, found no path to them. "
        "Is something detached, rounded or run without gradients inside?"
    )
