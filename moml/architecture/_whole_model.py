"""Any model that returns a prediction for every task, as an architecture."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import is_dataclass
from typing import Any

from torch import Tensor, nn

from moml._support import checks
from moml._support.nesting import Nesting, fields_of, taken_apart
from moml._support.task_names import task_names
from moml.architecture._base import Architecture, own_prefix
from moml.data.inputs import Inputs, TaskInputs, call


class WholeModel(Architecture):
    """A model that is not divided into an encoder and heads.

    Its output is a mapping from tasks to predictions (a dictionary, or any other mapping), a
    dataclass or named tuple with fields named as the tasks, or a tuple in the order of the tasks;
    entries that are no task's are left alone. Which parameters belong to one task only is declared
    by ``heads``; without it all count as shared, and rows of gradients are those on the whole
    model.

    `moml.MultiTask` wraps a module by itself; this class is for declaring heads.

    Args:
        model: The model.
        tasks: Task names, in order.
        heads: By task, the submodules that only its prediction uses.

    Raises:
        ValueError: If ``heads`` names another task, or a module that is not the model's.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from moml.architecture import WholeModel
        >>> class Model(nn.Module):
        ...     def __init__(self):
        ...         super().__init__()
        ...         self.body, self.a, self.b = nn.Linear(4, 8), nn.Linear(8, 2), nn.Linear(8, 3)
        ...     def forward(self, x):
        ...         made = self.body(x).relu()
        ...         return {"a": self.a(made), "b": self.b(made)}
        >>> model = Model()
        >>> whole = WholeModel(model, ["a", "b"], heads={"a": [model.a], "b": [model.b]})
        >>> {task: tuple(y.shape) for task, y in whole(torch.zeros(5, 4)).items()}
        {'a': (5, 2), 'b': (5, 3)}
    """

    def __init__(
        self,
        model: nn.Module,
        tasks: Iterable[Any],
        *,
        heads: Mapping[Any, nn.Module | Iterable[nn.Module]] | None = None,
    ) -> None:
        super().__init__()
        self.model = checks.instance("model", model, nn.Module, "a module")
        self.tasks = task_names(tasks, "tasks")
        if heads is not None:
            checks.instance("heads", heads, Mapping, "a mapping from task to its submodules")
        self._heads = {
            str(task): (own,) if isinstance(own, nn.Module) else _submodules(task, own)
            for task, own in (heads or {}).items()
        }
        inside = set(model.modules())
        for task, own in self._heads.items():
            self.select([task])
            for module in own:
                if not isinstance(module, nn.Module) or module not in inside:
                    raise ValueError(
                        f"`heads['{task}']` should be submodules of the model, found a "
                        f"{type(module).__name__} that is not."
                    )
        self._nestings: dict[str, Nesting] = {}

    def features(self, inputs: Inputs, tasks: Sequence[str] | None = None) -> dict[str, Tensor]:
        """The inputs themselves: nothing of the model comes before its predictions."""
        names = self.select(tasks)
        several = isinstance(inputs, TaskInputs)
        of = {own_prefix(t): inputs[t] for t in names if t in inputs} if several else {"": inputs}
        features: dict[str, Tensor] = {}
        self._nestings = {}
        for prefix, own in of.items():
            tensors, self._nestings[prefix] = taken_apart(own, f"{prefix}inputs")
            features |= tensors
        return features

    def decode(
        self, features: dict[str, Tensor], tasks: Sequence[str] | None = None
    ) -> dict[str, Tensor]:
        """What the model returns for these tasks."""
        names = self.select(tasks)
        if "" in self._nestings:
            made = self._by_task(call(self.model, self._nestings[""].filled(features)))
            return {task: self._found(task, made) for task in names}
        predictions = {}
        for task in names:
            if (own := self._nestings.get(own_prefix(task))) is not None:
                made = self._by_task(call(self.model, own.filled(features)))
                predictions[task] = self._found(task, made)
        return predictions

    def private_modules(self, task: str) -> Iterable[nn.Module]:
        """What was declared."""
        return self._heads.get(task, ())

    def _by_task(self, output: Any) -> dict[str, Any]:
        named = fields_of(output)
        if named is not None and (is_dataclass(output) or set(named) & set(self.tasks)):
            return named
        if isinstance(output, Mapping):
            return {str(task): prediction for task, prediction in output.items()}
        if isinstance(output, Tensor) and len(self.tasks) == 1:
            return {self.tasks[0]: output}
        if isinstance(output, (tuple, list)) and len(output) == len(self.tasks):
            return dict(zip(self.tasks, output, strict=True))
        size = f" of {len(output)}" if isinstance(output, (tuple, list)) else ""
        raise ValueError(
            f"`model` should return a mapping from {list(self.tasks)} to predictions, a dataclass "
            f"with these fields, or a tuple in this order, found {type(output).__name__}{size}."
        )

    def _found(self, task: str, made: Mapping[str, Any]) -> Any:
        if made.get(task) is None:
            found = "None" if task in made else list(made)
            raise ValueError(
                f"`model` should return a prediction for task '{task}', found {found}."
            )
        return made[task]


def _submodules(task: Any, own: Any) -> tuple[nn.Module, ...]:
    if isinstance(own, (str, type)) or not isinstance(own, Iterable):
        raise ValueError(
            f"`heads[{task!r}]` should be submodules of the model, found {checks.found(own)}."
        )
    return tuple(own)
