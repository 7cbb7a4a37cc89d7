"""Adam with hypergradients that stay finite."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from moml.bilevel._lower import Tensors
from moml.bilevel.inner._base import InnerState, Projection, UpdateRule, safe_sqrt, zeros


class InnerAdam(UpdateRule):
    r"""Adam: first and second moments, bias-corrected, as `torch.optim.Adam`.

    Kingma & Ba, `Adam: A Method for Stochastic Optimization <https://arxiv.org/abs/1412.6980>`_,
    ICLR 2015. The square root has derivative zero at zero, so that coordinates whose gradient
    vanishes (a bias before a normalisation) do not turn hypergradients into NaN, as they do in
    other differentiable optimizers.

    Args:
        lr: Learning rate.
        steps: Number of steps.
        betas: Decay of the two moments.
        eps: Added to the root of the second moment.
        weight_decay: Multiple of the variables added to the gradient.
        project: Maps lower variables back to where they may lie, after each step.
    """

    def __init__(
        self,
        lr: float = 1e-3,
        *,
        steps: int = 1,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        project: Projection | None = None,
    ) -> None:
        super().__init__(lr, steps=steps, weight_decay=weight_decay, project=project)
        self.betas, self.eps = betas, eps
        check_decay("betas", *betas)

    def _slots(self, theta: Tensors) -> Any:
        return zeros(theta), zeros(theta)

    def _update(
        self, gradient: Tensors, state: InnerState, rates: Sequence[Tensor | float]
    ) -> tuple[Tensors, Any]:
        return adam_update(gradient, state, rates, betas=self.betas, eps=self.eps)


def adam_update(
    gradient: Tensors,
    state: InnerState,
    rates: Sequence[Tensor | float],
    *,
    betas: tuple[float, float],
    eps: float,
) -> tuple[Tensors, Any]:
    """Adam's step: new variables and moments."""
    (a, b), (first, second), t = betas, state.slots, state.step + 1
    first = [m * a + g * (1 - a) for m, g in zip(first, gradient, strict=True)]
    second = [v * b + g * g * (1 - b) for v, g in zip(second, gradient, strict=True)]
    mean, spread = 1 - a**t, (1 - b**t) ** 0.5
    moved = [
        x - r * (m / mean) / (safe_sqrt(v) / spread + eps)
        for x, m, v, r in zip(state.theta, first, second, rates, strict=True)
    ]
    return moved, (first, second)


def check_decay(name: str, *values: float) -> None:
    """Whether decay factors lie in [0, 1).

    Raises:
        ValueError: If not.
    """
    if not all(0 <= value < 1 for value in values):
        raise ValueError(f"`{name}` should lie in [0, 1), found {values}.")
