"""What the lower level keeps from one step to the next."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from moml.bilevel._lower import LowerLevel
from moml.bilevel._problem import BilevelProblem, Params
from moml.bilevel.hypergradient import LowerSolution


class Carry(ABC):
    """Decides where the lower level starts in the next step."""

    keeps: ClassVar[bool] = True
    """Whether it looks at the step's solutions."""

    @abstractmethod
    def previous(self) -> Params | None:
        """Where it was left; ``None`` to start afresh."""

    @abstractmethod
    def advance(self, problem: BilevelProblem, solutions: Sequence[LowerSolution]) -> None:
        """After the upper step: keep or move the lower variables.

        Args:
            problem: The problem, whose upper parameters have moved.
            solutions: Those of the step, one per episode.
        """

    def state_dict(self) -> dict[str, Any]:
        """What a resumed run needs."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        return


def single(solutions: Sequence[LowerSolution]) -> LowerSolution:
    """The only solution of a step.

    Raises:
        ValueError: If there are several: then there is not one lower level to go on with.
    """
    if len(solutions) != 1:
        raise ValueError(
            "`episodes` should give one lower level where it is kept between steps, found "
            f"{len(solutions)}. Start afresh in every step, or stack the episodes in one."
        )
    return solutions[0]


def owned(lower: LowerLevel, solution: LowerSolution) -> Params:
    """The solution's lower variables by name."""
    return lower.named(solution.theta)
