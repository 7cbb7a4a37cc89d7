"""How tasks share a network: features, then one prediction per task."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from typing import ClassVar

from torch import Tensor, nn
from torch.nn import Parameter

from moml.data.batch import Inputs


class Architecture(nn.Module, ABC):
    """A multi-task network. Knows nothing of losses, weightings or devices.

    A subclass says which of its submodules belong to one task only; everything else is shared. A
    parameter found in two places (a tied weight) is private only if both belong to one task.
    """

    paper: ClassVar[str] = ""
    tasks: tuple[str, ...]

    @abstractmethod
    def features(self, inputs: Inputs, tasks: Sequence[str] | None = None) -> dict[str, Tensor]:
        """Representation of the inputs for these tasks (all unless given)."""

    @abstractmethod
    def decode(
        self, features: dict[str, Tensor], tasks: Sequence[str] | None = None
    ) -> dict[str, Tensor]:
        """Prediction per task from the representation."""

    @abstractmethod
    def private_modules(self, task: str) -> Iterable[nn.Module]:
        """Submodules that only the prediction of ``task`` uses."""

    def forward(self, inputs: Inputs, tasks: Sequence[str] | None = None) -> dict[str, Tensor]:
        """Prediction per task."""
        return self.decode(self.features(inputs, tasks), tasks)

    def shared_parameters(self) -> list[Parameter]:
        """Parameters that do not belong to exactly one task."""
        return [p for p, owners in self._owners().items() if len(owners) > 1 or None in owners]

    def private_parameters(self, task: str) -> list[Parameter]:
        """Parameters that belong to ``task`` alone."""
        return [p for p, owners in self._owners().items() if owners == {task}]

    def select(self, tasks: Sequence[str] | None) -> Sequence[str]:
        """The tasks asked for, all of them unless given.

        Raises:
            ValueError: If one is unknown.
        """
        for task in tasks or ():
            if task not in self.tasks:
                raise ValueError(f"`tasks` should be among {list(self.tasks)}, found '{task}'.")
        return self.tasks if tasks is None else tasks

    def _owners(self) -> dict[Parameter, set[str | None]]:
        """Which task's private modules each parameter is found in; ``None`` stands for outside."""
        prefixes: dict[str, set[str]] = {}
        for task in self.tasks:
            private = set(self.private_modules(task))
            for name, module in self.named_modules(remove_duplicate=False):
                if module in private:
                    prefixes.setdefault(name + ".", set()).add(task)
        owners: dict[Parameter, set[str | None]] = {}
        for name, parameter in self.named_parameters(remove_duplicate=False):
            found = [tasks for prefix, tasks in prefixes.items() if name.startswith(prefix)]
            place = owners.setdefault(parameter, set())
            place.update(*found)
            if not found:
                place.add(None)
        return owners
