"""Reverse-mode differentiation through the last lower steps."""

from __future__ import annotations

from collections.abc import Sequence

from moml._support import checks
from moml.bilevel._lower import LowerLevel, Tensors
from moml.bilevel.hypergradient._base import Hypergradient, LowerSolution, require_plain_look
from moml.bilevel.hypergradient.unrolled import trainable, walk_attached
from moml.bilevel.inner import InnerSolver, InnerState
from moml.gradients.rows import Row


class Truncated(Hypergradient):
    """The derivative of the last ``k`` of T lower steps.

    Shaban, Cheng, Hatch & Boots, `Truncated Back-propagation for Bilevel Optimization
    <https://arxiv.org/abs/1810.10667>`_, AISTATS 2019. For gradient descent at a lower optimum it
    is a Neumann series of ``k`` terms. Cost: T forward steps, graph and backward pass of ``k``. The
    error decays geometrically in ``k`` where the lower loss is strongly convex; a dependence
    through the start (MAML) is cut off unless ``k >= T``, when this is `Unrolled`.

    Args:
        k: Number of steps differentiated.
    """

    def __init__(self, k: int) -> None:
        super().__init__()
        checks.whole("k", k)
        if k < 1:
            raise ValueError(f"`k` should be at least 1, found {k}. See `FirstOrder` for none.")
        self.k = k

    def _solve(self, lower: LowerLevel, inner: InnerSolver, start: Tensors) -> LowerSolution:
        before = inner.steps - self.k
        if before <= 0:
            return walk_attached(lower, inner, start, inner.begin(lower, trainable(start)))
        require_plain_look(lower, inner, "Truncated")
        state = inner.begin(lower, [t.detach() for t in start])
        state = inner.walk(lower, state, before, create_graph=False)
        leaves = [t.detach().requires_grad_() for t in state.theta]
        return walk_attached(lower, inner, start, InnerState(leaves, state.slots, state.step))

    def pull(self, solution: LowerSolution, cotangents: Sequence[Row]) -> list[Row]:
        """Backpropagation through the last lower steps."""
        return self._back(solution.trace, solution.omega, cotangents)
