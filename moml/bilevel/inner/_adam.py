"""What Adam and AdamW share: two moments and their step."""

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


class AdamRule(UpdateRule):
    """A step along the bias-corrected mean gradient over the root of its mean square."""

    def __init__(
        self,
        lr: float = 1e-3,
        *,
        steps: int = 1,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        project: Projection | None = None,
        clip_norm: float | None = None,
    ) -> None:
        super().__init__(
            lr, steps=steps, weight_decay=weight_decay, project=project, clip_norm=clip_norm
        )
        check_decay("betas", *checks.numbers("betas", betas, "two numbers"))
        self.betas, self.eps = betas, checks.number("eps", eps, least=0)

    def _slots(self, theta: Tensors) -> Any:
        return zeros(theta), zeros(theta)

    def _update(
        self, gradient: Tensors, state: InnerState, rates: Sequence[Tensor | float]
    ) -> tuple[Tensors, Any]:
        (a, b), (first, second), t = self.betas, state.slots, state.step + 1
        first = [m * a + g * (1 - a) for m, g in zip(first, gradient, strict=True)]
        second = [v * b + g * g * (1 - b) for v, g in zip(second, gradient, strict=True)]
        mean, spread = 1 - a**t, (1 - b**t) ** 0.5
        moved = [
            x - r * (m / mean) / (safe_sqrt(v) / spread + self.eps)
            for x, m, v, r in zip(state.theta, first, second, rates, strict=True)
        ]
        return moved, (first, second)
