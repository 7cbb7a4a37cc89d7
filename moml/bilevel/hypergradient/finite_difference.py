"""The finite-difference estimate of DARTS."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from moml._support import checks
from moml._support.random_state import random_state, replayed
from moml.bilevel._lower import LowerLevel, Tensors, fresh
from moml.bilevel.hypergradient._base import (
    Hypergradient,
    LowerSolution,
    require_plain_look,
    solved,
)
from moml.bilevel.inner import InnerSGD, InnerSolver, VirtualStep
from moml.gradients.rows import Row, add_rows, combine_rows


class FiniteDifference(Hypergradient):
    r"""The last lower step's derivative from two more lower gradients, no second derivatives.

    :math:`-\eta\,\partial^2_{\omega\theta} f\, v \approx -\eta\,[\partial_\omega f(\theta+\epsilon
    v) - \partial_\omega f(\theta-\epsilon v)] / 2\epsilon` with :math:`\epsilon = r/\|v\|` (Liu,
    Simonyan & Yang, `DARTS <https://arxiv.org/abs/1806.09055>`_, ICLR 2019). With one lower step it
    is `Unrolled` up to an error of order :math:`\epsilon^2` and of rounding over :math:`\epsilon`;
    with more it is that of the last step alone. What the step drew from PyTorch's global generators
    (dropout) is drawn again. Kinks (ReLU) between the two points spoil it.

    Cost: two lower gradients per objective, memory of one.

    Args:
        radius: Length r of the displacement; 0.01 as in DARTS.
    """

    def __init__(self, radius: float = 0.01) -> None:
        super().__init__()
        checks.number("radius", radius, above=0)
        self.radius = radius

    def _solve(self, lower: LowerLevel, inner: InnerSolver, start: Tensors) -> LowerSolution:
        require_plain_look(lower, inner, "FiniteDifference")
        if not _plain(inner) and not isinstance(inner, VirtualStep):
            raise ValueError(
                "`inner` should be an InnerSGD without momentum, projection or clipping and with "
                "at least one step, or a VirtualStep, for FiniteDifference, found "
                f"{type(inner).__name__} with {inner.steps} steps."
            )
        state = inner.begin(lower, fresh(start))
        before = inner.walk(lower, state, inner.steps - 1, create_graph=False)
        drawn = random_state()
        after = inner.walk(lower, before, 1, create_graph=False)
        return solved(lower, start, after.theta, inner.steps, trace=(inner, before, drawn))

    def pull(self, solution: LowerSolution, cotangents: Sequence[Row]) -> list[Row]:
        """Two lower gradients per objective."""
        return [self._pull(solution, row) for row in cotangents]

    def _pull(self, solution: LowerSolution, cotangent: Row) -> Row:
        inner, before, drawn = solution.trace
        lower, omega, theta = solution.lower, solution.omega, before.theta
        rates = inner.rates(lower, before)
        scaled = [
            torch.zeros_like(t) if v is None else r * v
            for v, r, t in zip(cotangent, rates, theta, strict=True)
        ]
        norm = float(torch.stack([v.norm() for v in scaled]).norm())
        learnt = before.step == 0 and any(t.requires_grad for t in solution.start)
        if norm == 0.0:  # nothing to go along: a rate that has come down to zero
            slope: Row = [torch.zeros_like(t) for t in (*(theta if learnt else ()), *omega)]
        else:
            eps = self.radius / norm
            turned = lower.turned(scaled)
            with replayed(drawn):  # the step's own dropout masks, for both
                ahead = self._gradient(lower, theta, turned, eps, before.step, all_of_it=learnt)
            with replayed(drawn):
                behind = self._gradient(lower, theta, turned, -eps, before.step, all_of_it=learnt)
            halves = torch.tensor([-0.5 / eps, 0.5 / eps], dtype=torch.float64)
            slope = combine_rows([ahead, behind], halves)
        if not learnt:
            return slope
        # One step from a start that is learnt: (I - eta (H + decay)) v goes on to the start.
        below = [
            v if s is None else (s if v is None else v + s)
            for v, s in zip(cotangent, slope[: len(theta)], strict=True)
        ]
        decay = inner.weight_decay
        below = [b if b is None else b - decay * v for b, v in zip(below, scaled, strict=True)]
        return add_rows(slope[len(theta) :], self._back(solution.start, omega, [below])[0])

    @staticmethod
    def _gradient(
        lower: LowerLevel,
        theta: Tensors,
        direction: Tensors,
        eps: float,
        step: int,
        *,
        all_of_it: bool,
    ) -> Row:
        """Gradient of the lower loss by the upper parameters; by the variables before, if wanted.

        Else no gradient of a weight is formed on the way.
        """
        moved: list[Tensor] = [
            t.detach().add(v, alpha=eps).requires_grad_(all_of_it)
            for t, v in zip(theta, direction, strict=True)
        ]
        loss = lower.loss(moved, step)
        inputs = [*(moved if all_of_it else ()), *lower.omega.values()]
        if not loss.requires_grad:
            return [None] * len(inputs)
        return list(torch.autograd.grad(loss, inputs, allow_unused=True))


def _plain(inner: InnerSolver) -> bool:
    """Whether a step is the rate times the gradient."""
    if not isinstance(inner, InnerSGD) or inner.steps < 1:
        return False
    return not inner.momentum and inner.project is None and inner.clip_norm is None
