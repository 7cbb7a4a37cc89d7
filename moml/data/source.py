"""Where samples come from: tensors in memory, or any map-style PyTorch data set."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

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

    Raises:
        ValueError: If there is no sample, or lengths differ.
    """

    def __init__(
        self,
        inputs: Tensor,
        targets: Mapping[str, Tensor],
        present: Mapping[str, Tensor] | None = None,
    ) -> None:
        if len(inputs) == 0:
            raise ValueError("`inputs` should hold at least one sample, found an empty data set.")
        for name, tensor in [*targets.items(), *(present or {}).items()]:
            if len(tensor) != len(inputs):
                raise ValueError(
                    f"`targets` and `present` should have one row per input ({len(inputs)}), "
                    f"found {len(tensor)} rows for task '{name}'."
                )
        self.inputs, self.targets, self.present = inputs, dict(targets), dict(present or {})

    def __len__(self) -> int:
        return len(self.inputs)

    def batch(self, indices: Tensor) -> Batch:
        """Gather the samples at ``indices``."""
        present = {task: mask[indices] for task, mask in self.present.items()} or None
        targets = {task: target[indices] for task, target in self.targets.items()}
        return Batch(self.inputs[indices], targets, present)


class DatasetSource(Source):
    """Any map-style data set whose items are ``(input, {task: target})``.

    A target of ``None``, or a task left out of the mapping, is a missing label.

    Args:
        dataset: Object with ``__len__`` and ``__getitem__``.
        tasks: Task names, in order.
    """

    def __init__(self, dataset: Any, tasks: Sequence[str]) -> None:
        if len(dataset) == 0:
            raise ValueError("`dataset` should hold at least one sample, found an empty data set.")
        self.dataset, self.tasks = dataset, tuple(tasks)

    def __len__(self) -> int:
        return len(self.dataset)

    def batch(self, indices: Tensor) -> Batch:
        """Fetch and stack the samples at ``indices``."""
        items = [self.dataset[int(index)] for index in indices]
        inputs = torch.stack([torch.as_tensor(x) for x, _ in items])
        targets: dict[str, Tensor] = {}
        present: dict[str, Tensor] = {}
        for task in self.tasks:
            values = [labels.get(task) for _, labels in items]
            known = [torch.as_tensor(value) for value in values if value is not None]
            if not known:
                continue
            blank = torch.zeros_like(known[0])
            targets[task] = torch.stack(
                [blank if value is None else torch.as_tensor(value) for value in values]
            )
            if len(known) < len(values):
                present[task] = torch.tensor([value is not None for value in values])
        return Batch(inputs, targets, present or None)
