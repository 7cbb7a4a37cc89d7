"""The lower variables move by an optimizer of their own, in turn with the upper level."""

from __future__ import annotations

from collections.abc import Sequence

from moml._support import checks
from moml.bilevel._problem import BilevelProblem
from moml.bilevel.carry._base import single
from moml.bilevel.carry._optimized import MakeOptimizer, MakeScheduler, Optimized
from moml.bilevel.hypergradient import LowerSolution


class Alternate(Optimized):
    """After each upper step, the lower variables take steps of any optimizer at the new upper ones.

    The scheme of DARTS and of MOML's released code: what the hypergradient looked at was a virtual
    step from the current variables; the real one is taken here, with momentum or Adam's moments
    kept from step to step.

    Args:
        optimizer: Makes an optimizer of the lower variables.
        steps: Lower steps per upper step, on the step's lower batches in turn.
        first: Which of the lower batches comes first: those before it are for virtual steps only.
        scheduler: Makes a schedule for it, advanced once per upper step.
        clip_norm: Largest norm of the lower gradient.
    """

    def __init__(
        self,
        optimizer: MakeOptimizer,
        *,
        steps: int = 1,
        first: int = 0,
        scheduler: MakeScheduler | None = None,
        clip_norm: float | None = None,
    ) -> None:
        super().__init__(optimizer, scheduler=scheduler, clip_norm=clip_norm)
        checks.whole("steps", steps, least=1)
        checks.whole("first", first, least=0)
        self.steps, self.first = steps, first

    def advance(self, problem: BilevelProblem, solutions: Sequence[LowerSolution]) -> None:
        """Take the steps, and hand the variables to the problem."""
        solution = single(solutions)
        theta = self._variables(solution)
        for step in range(self.first, self.first + self.steps):
            self._move(solution.lower.training_gradient(theta, step))
        problem.commit(self._moved())
