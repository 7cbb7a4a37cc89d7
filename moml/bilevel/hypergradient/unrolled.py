"""Reverse-mode differentiation through all lower steps."""

from __future__ import annotations

from collections.abc import Sequence

from moml.bilevel._lower import LowerLevel, Tensors, fresh
from moml.bilevel.hypergradient._base import Hypergradient, LowerSolution, looks
from moml.bilevel.inner import InnerSolver, InnerState
from moml.gradients.rows import Row


class Unrolled(Hypergradient):
    r"""The exact derivative of T lower steps, by backpropagation through them.

    :math:`\theta_{t+1} = \Phi(\theta_t, \omega)`: the graph of all steps is kept and walked
    backwards, for all objectives at once. As in MAML (Finn et al., ICML 2017) and in Franceschi et
    al., `Bilevel Programming for Hyperparameter Optimization and Meta-Learning
    <https://arxiv.org/abs/1806.04910>`_, ICML 2018.

    Cost: time of about 3 lower solves for one objective, memory of T graphs. Exact for the T-step
    map, whatever the solver or the lower loss; it says nothing about the lower optimum until T
    steps reach it: with T small it finds the Pareto points of another problem.
    """

    def _solve(self, lower: LowerLevel, inner: InnerSolver, start: Tensors) -> LowerSolution:
        return walk_attached(lower, inner, start, inner.begin(lower, trainable(start)))

    def pull(self, solution: LowerSolution, cotangents: Sequence[Row]) -> list[Row]:
        """Backpropagation through the lower steps."""
        return self._back(solution.trace, solution.omega, cotangents)


def walk_attached(
    lower: LowerLevel, inner: InnerSolver, start: Tensors, state: InnerState
) -> LowerSolution:
    """The remaining steps with their graph; ``trace`` holds the live tensors looked at."""
    weights = looks(lower, inner)
    seen: list[Tensors] = [state.theta] if state.step in weights else []

    def look(state: InnerState) -> None:
        if state.step in weights:
            seen.append(state.theta)

    end = inner.walk(lower, state, inner.steps - state.step, create_graph=True, look=look)
    return LowerSolution(
        lower,
        start,
        [fresh(point) for point in seen],
        weights,
        [t.detach() for t in end.theta],
        trace=[t for point in seen for t in point],
    )


def trainable(start: Tensors) -> Tensors:
    """The start as it is where it has a graph, leaves elsewhere."""
    return [t if t.requires_grad else t.requires_grad_() for t in start]
