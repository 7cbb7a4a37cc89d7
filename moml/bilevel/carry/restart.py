"""Nothing is kept."""

from __future__ import annotations

from collections.abc import Sequence

from moml.bilevel._problem import BilevelProblem, Params
from moml.bilevel.carry._base import Carry
from moml.bilevel.hypergradient import LowerSolution


class Restart(Carry):
    """The lower level starts afresh in every step, where the problem says: few-shot learning."""

    keeps = False

    def previous(self) -> Params | None:
        """Nothing."""
        return None

    def advance(self, problem: BilevelProblem, solutions: Sequence[LowerSolution]) -> None:
        """Nothing to do."""
        return
