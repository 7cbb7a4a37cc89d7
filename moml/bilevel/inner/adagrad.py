"""Adagrad with hypergradients that stay finite."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from moml._support import checks
from moml.bilevel._lower import Tensors
from moml.bilevel.inner._base import InnerState, Projection, UpdateRule, safe_sqrt, zeros


class InnerAdagrad(UpdateRule):
    r"""Gradient over the root of the sum of all its squares so far, as `torch.optim.Adagrad`.

    Duchi, Hazan & Singer, `Adaptive Subgradient Methods for Online Learning and Stochastic
    Optimization <https://jmlr.org/papers/v12/duchi11a.html>`_, JMLR 2011. The root has derivative
    zero at zero.

    Args:
        lr: Learning rate.
        steps: Number of steps.
        eps: Added to the root.
        weight_decay: Multiple of the variables added to the gradient.
        project: Maps lower variables back to where they may lie, after each step.
        clip_norm: Largest norm of the lower loss's gradient.
    """

    def __init__(
        self,
        lr: float = 1e-2,
        *,
        steps: int = 1,
        eps: float = 1e-10,
        weight_decay: float = 0.0,
        project: Projection | None = None,
        clip_norm: float | None = None,
    ) -> None:
        super().__init__(
            lr, steps=steps, weight_decay=weight_decay, project=project, clip_norm=clip_norm
        )
        self.eps = checks.number("eps", eps, least=0)

    def _slots(self, theta: Tensors) -> Any:
        return zeros(theta)

    def _update(
        self, gradient: Tensors, state: InnerState, rates: Sequence[Tensor | float]
    ) -> tuple[Tensors, Any]:
        sums = [s + g * g for s, g in zip(state.slots, gradient, strict=True)]
        moved = [
            x - r * g / (safe_sqrt(s) + self.eps)
            for x, g, s, r in zip(state.theta, gradient, sums, rates, strict=True)
        ]
        return moved, sums
