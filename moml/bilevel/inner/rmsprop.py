"""RMSprop with hypergradients that stay finite."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from moml._support import checks
from moml.bilevel._lower import Tensors
from moml.bilevel.inner._base import (
    InnerState,
    Projection,
    UpdateRule,
    check_decay,
    safe_sqrt,
    zeros,
)


class InnerRMSprop(UpdateRule):
    r"""Gradient over the root of its mean square, as `torch.optim.RMSprop`.

    :math:`v \leftarrow \alpha v + (1-\alpha) g^2`, :math:`\theta \leftarrow \theta - \eta g /
    (\sqrt v + \epsilon)` (Tieleman & Hinton, 2012). The root has derivative zero at zero.

    Args:
        lr: Learning rate.
        steps: Number of steps.
        alpha: Decay of the mean square.
        eps: Added to its root.
        weight_decay: Multiple of the variables added to the gradient.
        project: Maps lower variables back to where they may lie, after each step.
        clip_norm: Largest norm of the lower loss's gradient.
    """

    def __init__(
        self,
        lr: float = 1e-2,
        *,
        steps: int = 1,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        project: Projection | None = None,
        clip_norm: float | None = None,
    ) -> None:
        super().__init__(
            lr, steps=steps, weight_decay=weight_decay, project=project, clip_norm=clip_norm
        )
        self.alpha, self.eps = alpha, checks.number("eps", eps, least=0)
        check_decay("alpha", alpha)

    def _slots(self, theta: Tensors) -> Any:
        return zeros(theta)

    def _update(
        self, gradient: Tensors, state: InnerState, rates: Sequence[Tensor | float]
    ) -> tuple[Tensors, Any]:
        pairs = zip(state.slots, gradient, strict=True)
        squares = [v * self.alpha + g * g * (1 - self.alpha) for v, g in pairs]
        moved = [
            x - r * g / (safe_sqrt(v) + self.eps)
            for x, g, v, r in zip(state.theta, gradient, squares, rates, strict=True)
        ]
        return moved, squares
