"""The straight-through estimate: lower steps count as a constant."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from moml.bilevel._lower import LowerLevel, Tensors, fresh
from moml.bilevel.hypergradient._base import Hypergradient, LowerSolution, looks
from moml.bilevel.inner import InnerSolver, InnerState
from moml.gradients.rows import Row


class FirstOrder(Hypergradient):
    r"""No second derivatives: :math:`\theta = \theta_0(\omega) + \mathrm{const}`.

    First-order MAML (Finn et al., ICML 2017) where the start is learnt; first-order DARTS where it
    is not, so that only the objectives' direct dependence on the upper parameters remains. Cost:
    the lower solve, no graph; where the start is not learnt, no gradient with respect to the lower
    variables either. Not exact: right in the limit of small steps only.
    """

    def _solve(self, lower: LowerLevel, inner: InnerSolver, start: Tensors) -> LowerSolution:
        weights = looks(lower, inner)
        state = inner.begin(lower, fresh(start))
        learnt = any(t.requires_grad for t in start)
        seen = fresh if learnt else _constant
        points = [seen(start)] if 0 in weights else []

        def look(state: InnerState) -> None:
            if state.step in weights:
                points.append(seen(state.theta))

        end = inner.walk(lower, state, inner.steps, create_graph=False, look=look)
        return LowerSolution(lower, start, points, weights, [t.detach() for t in end.theta])

    def pull(self, solution: LowerSolution, cotangents: Sequence[Row]) -> list[Row]:
        """Through the start alone."""
        outputs = solution.start * len(solution.points)
        return self._back(outputs, solution.omega, cotangents)


def _constant(tensors: Sequence[Tensor]) -> Tensors:
    """The same values, which nothing is differentiated with respect to."""
    return [t.detach() for t in tensors]
