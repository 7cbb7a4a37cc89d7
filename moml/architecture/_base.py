"""How tasks share a network: features, then one prediction per task."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, ClassVar

from torch import Tensor, nn
from torch.nn import Parameter

from moml._support import checks
from moml._support.task_names import by_task
from moml._support.typed_modules import TaskModules
from moml.data.inputs import Inputs, TaskInputs


class Architecture(nn.Module, ABC):
    """A multi-task network. Knows nothing of losses, weightings or devices.

    A subclass says which of its submodules belong to one task only; everything else is shared. A
    parameter found in two places (a tied weight) is private only if both belong to one task.
    """

    paper: ClassVar[str] = ""
    """Authors, title, venue and year."""
    traits: ClassVar[frozenset[str]] = frozenset()
    """What it asks of an encoder and of a training loop: see ``docs/architectures.md``."""
    tasks: tuple[str, ...]
    auxiliary_weight: float = 1.0
    """What the losses of auxiliary predictions count beside those of the predictions."""

    @abstractmethod
    def features(self, inputs: Inputs, tasks: Sequence[str] | None = None) -> dict[str, Tensor]:
        """Representation of the inputs for these tasks (all unless given)."""

    @abstractmethod
    def decode(
        self, features: dict[str, Tensor], tasks: Sequence[str] | None = None
    ) -> dict[str, Tensor]:
        """Prediction per task from the representation."""

    def auxiliary(
        self, features: dict[str, Tensor], tasks: Sequence[str] | None = None
    ) -> dict[str, Tensor]:
        """Further predictions of tasks' targets, for training alone; none unless there are.

        A task's loss is that of its prediction and, times ``auxiliary_weight``, that of its
        auxiliary one; so what makes this one is as private as the task's head. Nothing in
        evaluation mode.
        """
        return {}

    def fan_out(
        self, features: dict[str, Tensor], tasks: Sequence[str]
    ) -> dict[str, Tensor] | None:
        """The representation by task, where each head reads one tensor of it and nothing else.

        `decode` must take it in place of ``features``. ``None``, the default, where it is not so.
        """
        return None

    @abstractmethod
    def private_modules(self, task: str) -> Iterable[nn.Module]:
        """Submodules that only the prediction of ``task`` uses."""

    def structure(self) -> list[Parameter]:
        """Parameters that decide what is shared, for methods that learn them on other data.

        Gates, branches, units; none unless there are.
        """
        return []

    def penalty(self) -> Tensor | None:
        """Regulariser on the architecture's own parameters, a scalar; ``None`` without any.

        Called once a step after the losses of the step are known. It is minimised as it is: no
        weighting scales it, and it is no task's loss. It must not hold on to the losses' graph.
        """
        return None

    def after_step(self, step: int, steps: int) -> None:
        """Called after each of ``steps`` optimizer steps: the place of schedules.

        What changes here lives in buffers, so that a resumed run goes on with the same numbers.
        """
        return

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
        private: dict[nn.Module, set[str | None]] = {}
        for task in self.tasks:
            for module in self.private_modules(task):
                private.setdefault(module, set()).add(task)
        owners: dict[Parameter, set[str | None]] = {}

        def visit(module: nn.Module, around: set[str | None]) -> None:
            """Note the owners of a module's parameters, wherever it is found."""
            tasks = around | private.get(module, set())
            for parameter in module._parameters.values():
                if parameter is not None:
                    owners.setdefault(parameter, set()).update(tasks or {None})
            for child in module._modules.values():
                if child is not None:
                    visit(child, tasks)

        visit(self, set())
        return owners


class PerInput(Architecture, ABC):
    """An architecture defined on one input tensor; with an input per task it runs once for each."""

    @abstractmethod
    def represent(self, x: Tensor, tasks: Sequence[str]) -> dict[str, Tensor]:
        """What these tasks' predictions for ``x`` need of the shared computation, by any name."""

    @abstractmethod
    def predict(self, features: dict[str, Tensor], tasks: Sequence[str]) -> dict[str, Tensor]:
        """Predictions of these tasks from what `represent` gave for them."""

    def predict_early(self, features: dict[str, Tensor], tasks: Sequence[str]) -> dict[str, Tensor]:
        """Auxiliary predictions of these tasks in training, from the same."""
        return {}

    def features(self, inputs: Inputs, tasks: Sequence[str] | None = None) -> dict[str, Tensor]:
        """What `represent` gives; per task and by its name for multi-input batches."""
        names = self.select(tasks)
        if isinstance(inputs, Tensor):
            return self.represent(inputs, names)
        if not isinstance(inputs, TaskInputs):
            raise ValueError(
                f"`inputs` should be one tensor for {type(self).__name__}, or `TaskInputs` of one "
                f"for each task, found {type(inputs).__name__}. HPS takes any arguments that its "
                "encoder does."
            )
        return {
            own_prefix(task) + name: feature
            for task in names
            if task in inputs
            for name, feature in self.represent(inputs[task], [task]).items()
        }

    def decode(
        self, features: dict[str, Tensor], tasks: Sequence[str] | None = None
    ) -> dict[str, Tensor]:
        """Prediction per task."""
        return self._by_input(self.predict, features, self.select(tasks))

    def auxiliary(
        self, features: dict[str, Tensor], tasks: Sequence[str] | None = None
    ) -> dict[str, Tensor]:
        """What `predict_early` gives."""
        if not self.training:
            return {}
        return self._by_input(self.predict_early, features, self.select(tasks))

    def _by_input(
        self,
        predict: Callable[[dict[str, Tensor], Sequence[str]], dict[str, Tensor]],
        features: dict[str, Tensor],
        tasks: Sequence[str],
    ) -> dict[str, Tensor]:
        """Predictions from features of one input, or of each task's own."""
        if not any(name.startswith(own_prefix(task)) for task in self.tasks for name in features):
            return predict(features, tasks)
        predictions: dict[str, Tensor] = {}
        for task in tasks:
            prefix = own_prefix(task)
            mine = {n.removeprefix(prefix): f for n, f in features.items() if n.startswith(prefix)}
            if mine:
                predictions |= predict(mine, [task])
        return predictions


def head_dict(heads: Mapping[Any, nn.Module]) -> nn.ModuleDict:
    """The heads as a module.

    Raises:
        ValueError: If there are none, or one is no module.
    """
    what = "a mapping from task to module"
    hint = "Name them: `{'a': head, ...}`."
    for task, head in checks.instance("heads", heads, (Mapping, nn.ModuleDict), what, hint).items():
        if not isinstance(head, nn.Module):
            found = f"the class {head.__name__}" if isinstance(head, type) else type(head).__name__
            raise ValueError(f"`heads[{task!r}]` should be a module, found {found}.")
    return TaskModules(by_task(heads))


def own_prefix(task: str) -> str:
    """What the names of features of a task's own inputs begin with."""
    return f"on the input of {task!r}: "
