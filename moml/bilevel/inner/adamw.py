"""Adam with decoupled weight decay."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from moml.bilevel._lower import Tensors
from moml.bilevel.inner._adam import AdamRule
from moml.bilevel.inner._base import InnerState, Projection


class InnerAdamW(AdamRule):
    r"""Adam whose weight decay acts on the variables, not on the gradient, as `torch.optim.AdamW`.

    Loshchilov & Hutter, `Decoupled Weight Decay Regularization
    <https://arxiv.org/abs/1711.05101>`_, ICLR 2019. `higher` does not have it.

    Args:
        lr: Learning rate.
        steps: Number of steps.
        betas: Decay of the two moments.
        eps: Added to the root of the second moment.
        weight_decay: The variables shrink by ``lr * weight_decay`` a step.
        project: Maps lower variables back to where they may lie, after each step.
        clip_norm: Largest norm of the lower loss's gradient.
    """

    def __init__(
        self,
        lr: float = 1e-3,
        *,
        steps: int = 1,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        project: Projection | None = None,
        clip_norm: float | None = None,
    ) -> None:
        super().__init__(
            lr,
            steps=steps,
            betas=betas,
            eps=eps,
            weight_decay=weight_decay,
            project=project,
            clip_norm=clip_norm,
        )

    def _decayed(self, gradient: Tensors, theta: Tensors) -> Tensors:
        return gradient

    def _update(
        self, gradient: Tensors, state: InnerState, rates: Sequence[Tensor | float]
    ) -> tuple[Tensors, Any]:
        pairs = zip(state.theta, rates, strict=True)
        shrunk = [x * (1 - r * self.weight_decay) for x, r in pairs]
        return super()._update(gradient, InnerState(shrunk, state.slots, state.step), rates)
