"""From gradients to parameters."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from typing import Any

from torch import Tensor
from torch.nn import Parameter

from moml.gradients.task_gradients import Evaluation


class Updater(ABC):
    """Moves the parameters once the weighting has written gradients (or instead of using them)."""

    @abstractmethod
    def parameters(self) -> Iterable[Parameter]:
        """Every parameter it moves."""

    @abstractmethod
    def adopt(self, parameters: Iterable[Parameter]) -> None:
        """Move these too (a weighting's own); called before the first step."""

    @abstractmethod
    def zero_grad(self) -> None:
        """Forget the gradients of the last step."""

    def prepare(self, evaluation: Evaluation) -> None:
        """Called before the weighting acts, for updaters that look at the tasks' gradients."""
        return

    @abstractmethod
    def step(self, evaluation: Evaluation, weights: Tensor | None) -> None:
        """Move the parameters."""

    @abstractmethod
    def learning_rate(self) -> float:
        """The current learning rate, for the log."""

    def described(self) -> str:
        """Optimizers in words, which a resumed run has to share."""
        return type(self).__name__

    def settings(self) -> list[dict[str, Any]]:
        """Plain settings of every parameter group, rates as at the start; none unless known."""
        return []

    @abstractmethod
    def state_dict(self) -> dict[str, Any]:
        """What a resumed run needs."""

    @abstractmethod
    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` returned."""
