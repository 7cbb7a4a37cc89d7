"""The lower level as a constraint on the value of its loss: first derivatives only."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from moml._support import checks
from moml.bilevel._joint import JointRows, only
from moml.bilevel._lower import LowerLevel, Tensors, fresh
from moml.bilevel.hypergradient._base import Hypergradient, LowerSolution, require_plain_look
from moml.bilevel.inner import InnerSolver
from moml.gradients.live import Live
from moml.gradients.rows import Row
from moml.problem import Losses


class ValueFunction(Hypergradient):
    r"""Moves both levels at once, along the objectives and towards lower optimality.

    The lower level becomes :math:`q(\omega, \theta) = f(\theta, \omega) - f(\theta_T, \omega) \le
    0`, with :math:`\theta_T` where T lower steps lead from the current :math:`\theta`, taken as a
    constant. Objectives are evaluated at the current :math:`\theta`; with weights
    :math:`\lambda`, :math:`z = (\omega, \theta)` falls along

    .. math:: d = \sum_k \lambda_k \nabla F_k + \nu \nabla q, \quad
       \nu = \max\left(\rho - \langle \nabla q, \textstyle\sum_k \lambda_k \nabla F_k \rangle
       / \|\nabla q\|^2,\; 0\right),

    so that :math:`\langle \nabla q, d \rangle \ge \rho \|\nabla q\|^2`: the constraint falls
    whatever the objectives want. Ye, Liu, Wright, Stone & Liu, `BOME! Bilevel Optimization Made
    Easy <https://arxiv.org/abs/2209.08709>`_, NeurIPS 2022; with several objectives Ye, Zhang et
    al., `A First-Order Multi-Gradient Algorithm for Multi-Objective Bi-Level Optimization
    <https://arxiv.org/abs/2401.09257>`_ (FORUM), ECAI 2024, whose weights are
    `moml.bilevel.ConstrainedMGDA`. Objectives count with their direct dependence on :math:`\omega`
    too, which FORUM's public code sets to zero.

    Any weighting works: rows, Gramian and Jacobian are over z. Cost: the lower steps, two lower
    gradients, and one gradient per objective; no second derivatives, memory of one graph.
    Stationary points are the bi-level problem's only in the limit of an exact lower solution. With
    :math:`\nabla q = 0` the lower level is stationary and does not constrain the step.

    The lower variables are kept by the oracle and move by `step_size` times the direction, or by
    an optimizer (``Bilevel(…, alternate=Along(optimizer))``); the upper ones by the updater.

    Args:
        rho: How fast the constraint falls; 0.1 in FORUM's code, 0.5 in BOME.
        step_size: Step of the lower variables where no optimizer moves them.
    """

    moves_lower = True

    def __init__(self, rho: float = 0.1, *, step_size: float = 1e-2) -> None:
        super().__init__()
        checks.number("rho", rho, least=0)
        checks.number("step_size", step_size, above=0)
        self.rho, self.step_size = rho, step_size

    def _solve(self, lower: LowerLevel, inner: InnerSolver, start: Tensors) -> LowerSolution:
        require_plain_look(lower, inner, "ValueFunction")
        if inner.steps < 1:
            raise ValueError(
                f"`inner` should take at least one step for ValueFunction, found {inner.steps}. "
                "Without one the constraint is empty."
            )
        if any(t.requires_grad for t in start):
            raise ValueError(
                "`lower_init` should not be a function of the upper parameters with ValueFunction, "
                "found that it is (MAML). Use Unrolled."
            )
        begin = fresh(start)
        end = inner.walk(lower, inner.begin(lower, begin), inner.steps, create_graph=False)
        theta = [t.detach() for t in end.theta]
        return LowerSolution(
            lower, start, [fresh(start)], {0: 1.0}, [t.detach() for t in start], trace=theta
        )

    def evaluate(self, losses: Losses, solutions: Sequence[LowerSolution], tasks: Tensor) -> Live:
        """Rows with respect to both levels."""
        return JointRows(losses, only(solutions), tasks, rho=self.rho, step_size=self.step_size)

    def pull(self, solution: LowerSolution, cotangents: Sequence[Row]) -> list[Row]:
        """Nothing: the lower variables do not count as functions of the upper ones."""
        return [[None] * len(solution.omega) for _ in cotangents]
