"""The lower level goes on from its last solution."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from moml.bilevel._problem import BilevelProblem, Params
from moml.bilevel.carry._base import Carry, owned, single
from moml.bilevel.hypergradient import LowerSolution


class WarmStart(Carry):
    """The lower level starts from the last step's solution.

    With an implicit hypergradient a single lower step per upper step is enough: the lower level
    converges along with the upper one (Ji, Yang & Liang, `Bilevel Optimization: Convergence
    Analysis and Enhanced Design <https://arxiv.org/abs/2010.07962>`_, ICML 2021).
    """

    def __init__(self) -> None:
        self.theta: Params | None = None

    def previous(self) -> Params | None:
        """The last solution."""
        return self.theta

    def advance(self, problem: BilevelProblem, solutions: Sequence[LowerSolution]) -> None:
        """Keep the solution."""
        solution = single(solutions)
        self.theta = owned(solution.lower, solution)
        problem.commit(self.theta)

    def state_dict(self) -> dict[str, Any]:
        """The last solution."""
        return {"theta": self.theta}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore the last solution."""
        self.theta = state["theta"]
