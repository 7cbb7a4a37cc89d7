"""One step of gradient descent as the lower level's own optimizer would take it now."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from moml.bilevel._lower import LowerLevel, Tensors
from moml.bilevel.inner._base import InnerSolver, InnerState

if TYPE_CHECKING:
    from moml.bilevel.carry import Alternate


class VirtualStep(InnerSolver):
    r"""A look ahead along the step that the lower variables are about to take.

    :math:`\theta' = \theta - \eta (\nabla f + \mu v + \lambda \theta)`, where the rate
    :math:`\eta`, the momentum :math:`\mu v` and the weight decay :math:`\lambda` are what the
    optimizer of the lower variables has at this moment: they follow its schedule. The virtual step
    of DARTS (Liu, Simonyan & Yang, `DARTS <https://arxiv.org/abs/1806.09055>`_, ICLR 2019) and of
    Auto-Lambda (Liu et al., TMLR 2022) as released. Of an optimizer with moments (Adam) it takes
    rate and decay only, as they do.

    Args:
        alternate: What moves the lower variables; the same object as `Bilevel` is given.
    """

    def __init__(self, alternate: Alternate) -> None:
        super().__init__(steps=1)
        self.alternate = alternate

    def begin(self, lower: LowerLevel, theta: Tensors) -> InnerState:
        """The state before the step."""
        return InnerState(theta, (), 0)

    def advance(self, lower: LowerLevel, state: InnerState, *, create_graph: bool) -> InnerState:
        """The step; differentiable with respect to everything but the velocity."""
        gradient = lower.gradient(state.theta, state.step, create_graph=create_graph)
        terms = self.alternate.terms(lower.named(state.theta))
        with torch.set_grad_enabled(create_graph):
            moved = []
            for theta, g, term in zip(state.theta, gradient, terms, strict=True):
                push = g if term.drift is None else g + term.drift
                push = push.add(theta, alpha=term.decay) if term.decay else push
                moved.append(theta.add(push, alpha=-term.rate))
            return InnerState(moved, (), state.step + 1)

    def rates(self, lower: LowerLevel, state: InnerState) -> list[float]:
        """What the gradient is multiplied by, variable by variable."""
        return [term.rate for term in self.alternate.terms(lower.named(state.theta))]
