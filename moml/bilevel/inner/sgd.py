"""Gradient descent, with momentum if asked for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from moml._support import checks
from moml.bilevel._lower import Tensors
from moml.bilevel.inner._base import InnerState, Projection, UpdateRule, zeros


class InnerSGD(UpdateRule):
    r"""Gradient descent: :math:`\theta \leftarrow \theta - \eta \nabla f(\theta)`.

    With momentum :math:`v \leftarrow \mu v + \nabla f`, :math:`\theta \leftarrow \theta - \eta v`
    (Nesterov: :math:`\theta \leftarrow \theta - \eta (\nabla f + \mu v)`), as `torch.optim.SGD`.

    Args:
        lr: Learning rate.
        steps: Number of steps.
        momentum: Factor of the previous velocity.
        nesterov: Look ahead along the velocity.
        weight_decay: Multiple of the variables added to the gradient.
        project: Maps lower variables back to where they may lie, after each step.
        clip_norm: Largest norm of the lower loss's gradient.
    """

    def __init__(
        self,
        lr: float,
        *,
        steps: int = 1,
        momentum: float = 0.0,
        nesterov: bool = False,
        weight_decay: float = 0.0,
        project: Projection | None = None,
        clip_norm: float | None = None,
    ) -> None:
        super().__init__(
            lr, steps=steps, weight_decay=weight_decay, project=project, clip_norm=clip_norm
        )
        checks.number("momentum", momentum, least=0, below=1)
        if nesterov and momentum == 0:
            raise ValueError("`nesterov` should go with a `momentum` above 0, found 0.")
        self.momentum, self.nesterov = momentum, nesterov

    def _slots(self, theta: Tensors) -> Any:
        return zeros(theta) if self.momentum else ()

    def _update(
        self, gradient: Tensors, state: InnerState, rates: Sequence[Tensor | float]
    ) -> tuple[Tensors, Any]:
        velocity: Any = ()
        if self.momentum:
            pairs = zip(state.slots, gradient, strict=True)
            velocity = [v * self.momentum + g for v, g in pairs]
            gradient = (
                [g + self.momentum * v for g, v in zip(gradient, velocity, strict=True)]
                if self.nesterov
                else velocity
            )
        moved = [_descend(t, g, r) for t, g, r in zip(state.theta, gradient, rates, strict=True)]
        return moved, velocity


def _descend(theta: Tensor, gradient: Tensor, rate: Tensor | float) -> Tensor:
    if isinstance(rate, float | int):
        return theta.add(gradient, alpha=-rate)
    return theta - rate * gradient
