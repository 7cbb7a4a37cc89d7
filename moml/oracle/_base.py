"""How a problem is differentiated."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from moml.errors import NoLabelsError
from moml.gradients.task_gradients import Evaluation
from moml.problem import Objectives, Problem


class Oracle(ABC):
    """Turns a problem and a batch into an `Evaluation`; owns how gradients come about."""

    @abstractmethod
    def __call__(self, problem: Any, batch: Any) -> Evaluation:
        """Compute the losses; gradients are computed when the weighting asks for them."""

    def add_penalty(self, problem: Objectives, penalty: Tensor | None) -> None:
        """Accumulate the gradient of the problem's penalty into ``.grad``, if there is one."""
        if penalty is not None:
            penalty.backward()

    def from_first(self, state: dict[str, Any] | None) -> dict[str, Any] | None:
        """What the first of the processes that work on the step read from its checkpoint."""
        return state

    def anywhere(self, flag: bool) -> bool:
        """Whether a flag is set in any process that works on the step."""
        return flag

    def advance(self, problem: Objectives) -> None:
        """Called after each step, for oracles with a lower level that moves by itself."""
        return

    def state_dict(self) -> dict[str, Any]:
        """What a resumed run needs to give the same numbers."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        return


def positions(names: tuple[str, ...], present: Mapping[str, Tensor]) -> list[int]:
    """Position of each present task among all tasks.

    Raises:
        NoLabelsError: If no task is present.
        ValueError: If an unknown one is.
    """
    if not present:
        raise NoLabelsError(names)
    unknown = [name for name in present if name not in names]
    if unknown:
        raise ValueError(f"`losses` should name tasks among {list(names)}, found {unknown}.")
    return [names.index(name) for name in present]


def check_has_losses(problem: Any) -> None:
    """Look for losses that can be differentiated as they are.

    Raises:
        ValueError: If the problem is a bi-level one.
    """
    if isinstance(problem, Objectives) and not isinstance(problem, Problem):
        raise ValueError(
            f"`oracle` should be `moml.bilevel.Bilevel(inner, hypergradient)` for the bi-level "
            f"problem {type(problem).__name__}, found one for losses without a lower level."
        )
