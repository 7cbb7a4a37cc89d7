"""Where samples come from: tensors in memory, or any map-style PyTorch data set."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from moml._support import checks
from moml._support.task_names import task_names
from moml.data.as_batch import as_batch
from moml.data.batch import Batch


class Source(ABC):
    """A finite, indexable collection of samples that can be gathered into a `Batch`."""

    @abstractmethod
    def __len__(self) -> int:
        """Number of samples."""

    @abstractmethod
    def batch(self, indices: Tensor) -> Batch:
        """The samples at ``indices`` ``(B,)``, in that order."""

    def view(self, indices: Tensor, generator: torch.Generator) -> Batch:
        """The same samples as training sees them: a random view of each, if there is more than one.

        Crops and mirror images are views. Everything random comes from ``generator``.
        """
        return self.batch(indices)


class TensorSource(Source):
    """Samples held in memory; a batch is one gather per tensor.

    Args:
        inputs: ``(N, ...)``.
        targets: ``(N, ...)`` per task.
        present: ``(N,)`` bool per partly labelled task.
        weights: ``(N,)`` per task with weighted samples.

    Raises:
        ValueError: If there is no sample, or lengths differ.
    """

    def __init__(
        self,
        inputs: Tensor,
        targets: Mapping[str, Tensor],
        present: Mapping[str, Tensor] | None = None,
        weights: Mapping[str, Tensor] | None = None,
    ) -> None:
        checks.instance("inputs", inputs, Tensor, "a tensor", "Convert it: `torch.as_tensor`.")
        if len(inputs) == 0:
            raise ValueError("`inputs` should hold at least one sample, found an empty data set.")
        for field, values in (("targets", targets), ("present", present), ("weights", weights)):
            if values is None and field != "targets":
                continue
            what = "a mapping from task to tensor"
            for name, tensor in checks.instance(field, values, Mapping, what).items():
                _check_rows(field, name, tensor, len(inputs))
        self.inputs, self.targets, self.present = inputs, dict(targets), dict(present or {})
        self.weights = dict(weights or {})

    def __len__(self) -> int:
        return len(self.inputs)

    def batch(self, indices: Tensor) -> Batch:
        """Gather the samples at ``indices``."""
        present = {task: mask[indices] for task, mask in self.present.items()} or None
        targets = {task: target[indices] for task, target in self.targets.items()}
        weights = {task: weight[indices] for task, weight in self.weights.items()} or None
        return Batch(self.inputs[indices], targets, present, weights)


def _check_rows(field: str, task: str, values: Any, number: int) -> None:
    if not isinstance(values, Tensor):
        raise ValueError(
            f"`{field}['{task}']` should be a tensor, found {type(values).__name__}. Convert it "
            "with `torch.as_tensor`."
        )
    if len(values) != number:
        raise ValueError(
            f"`targets`, `present` and `weights` should have one row per input ({number}), found "
            f"{len(values)} rows for task '{task}'."
        )


class DatasetSource(Source):
    """Any map-style data set whose items are ``(input, {task: target})``.

    A target of ``None``, or a task left out of the mapping, is a missing label.

    Args:
        dataset: Object with ``__len__`` and ``__getitem__``.
        tasks: Task names, in order.
        collate: Makes a batch of a list of items, as ``collate_fn`` of a
            `torch.utils.data.DataLoader`: for items of unequal length, or of any other form. What
            it may return is in `moml.data.as_batch`.
    """

    def __init__(
        self,
        dataset: Any,
        tasks: Sequence[Any],
        *,
        collate: Callable[[list[Any]], Any] | None = None,
    ) -> None:
        if not all(hasattr(dataset, name) for name in ("__len__", "__getitem__")) or isinstance(
            dataset, type
        ):
            raise ValueError(
                "`dataset` should have a length and items by number, found "
                f"{checks.found(dataset)}. Stream other data by `moml.fit(..., batches=...)`."
            )
        if collate is not None:
            checks.function("collate", collate, "torch.utils.data.default_collate")
        if len(dataset) == 0:
            raise ValueError("`dataset` should hold at least one sample, found an empty data set.")
        self.dataset, self.tasks, self.collate = dataset, task_names(tasks, "tasks"), collate

    def __len__(self) -> int:
        return len(self.dataset)

    def batch(self, indices: Tensor) -> Batch:
        """Fetch and stack the samples at ``indices``.

        Raises:
            ValueError: If samples cannot be stacked, or name a task that is unknown.
        """
        items = [self.dataset[int(index)] for index in indices]
        if self.collate is not None:
            return as_batch(self.collate(items), self.tasks)
        for item in items:
            _check_item(item)
        inputs = _stacked([x for x, _ in items], "Inputs")
        found = [{str(task): value for task, value in labels.items()} for _, labels in items]
        self._check(found)
        targets: dict[str, Tensor] = {}
        present: dict[str, Tensor] = {}
        for task in self.tasks:
            values = [labels.get(task) for labels in found]
            known = [torch.as_tensor(value) for value in values if value is not None]
            if not known:
                continue
            blank = torch.zeros_like(known[0])
            filled = [blank if value is None else value for value in values]
            targets[task] = _stacked(filled, f"Targets of task '{task}'")
            if len(known) < len(values):
                present[task] = torch.tensor([value is not None for value in values])
        return Batch(inputs, targets, present or None)

    def _check(self, found: Sequence[Mapping[str, Any]]) -> None:
        """Look for targets that no task would read."""
        for labels in found:
            for task in labels:
                if task not in self.tasks:
                    raise ValueError(
                        f"Targets of `dataset` should be named as tasks among {list(self.tasks)}, "
                        f"found '{task}'."
                    )


def _check_item(item: Any) -> None:
    if isinstance(item, (tuple, list)) and len(item) == 2 and isinstance(item[1], Mapping):
        return
    if isinstance(item, (tuple, list)):
        parts = ", ".join(type(part).__name__ for part in item)
        found = f"a {type(item).__name__} of {len(item)} ({parts})"
    else:
        found = type(item).__name__
    raise ValueError(
        f"Items of `dataset` should be (input, {{task: target}}), found {found}. Pass `collate`, "
        "such as `torch.utils.data.default_collate`, for items of another form."
    )


def _stacked(values: Sequence[Any], what: str) -> Tensor:
    tensors = [torch.as_tensor(value) for value in values]
    shapes = {tuple(x.shape) for x in tensors}
    if len(shapes) > 1:
        raise ValueError(
            f"{what} in a batch should have one shape, found "
            f"{', '.join(map(str, sorted(shapes)))}. Pad them with `collate`."
        )
    return torch.stack(tensors)
