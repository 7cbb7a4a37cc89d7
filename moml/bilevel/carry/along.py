"""The lower variables move by an optimizer along a direction found with the upper step."""

from __future__ import annotations

from collections.abc import Sequence

from moml.bilevel._problem import BilevelProblem
from moml.bilevel.carry._base import single
from moml.bilevel.carry._optimized import Optimized
from moml.bilevel.hypergradient import LowerSolution


class Along(Optimized):
    """For methods that move both levels at once (`moml.bilevel.ValueFunction`).

    The lower part of their joint direction takes the place of a gradient in any optimizer.

    Args:
        optimizer: Makes an optimizer of the lower variables.
        scheduler: Makes a schedule for it, advanced once per upper step.
        clip_norm: Largest norm of the lower part of the direction.
    """

    def advance(self, problem: BilevelProblem, solutions: Sequence[LowerSolution]) -> None:
        """Take the step, and hand the variables to the problem."""
        solution = single(solutions)
        if solution.direction is None:
            raise ValueError(
                "`alternate` should be Along only with a hypergradient that moves the lower "
                "variables itself, found no direction. Use `ValueFunction`, or `Alternate`."
            )
        self._variables(solution)
        self._move(solution.direction)
        problem.commit(self._moved())
