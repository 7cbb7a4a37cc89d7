"""Batches of a PyTorch data loader as `moml.data.Batch`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import is_dataclass
from typing import Any

from torch import Tensor

from moml._support.nesting import fields_of
from moml.data.batch import Batch

_FIELDS = ("inputs", "targets", "present", "weights")


def as_batch(batch: Any, tasks: Sequence[str]) -> Batch:
    """Convert what a data loader yields; a `Batch` is returned as it is.

    - ``(inputs, {task: target})``; or ``(inputs, targets)`` with as many targets as tasks, in their
      order; or ``(inputs, target_1, ..., target_K)``, as `torch.utils.data.TensorDataset` makes
      them.
    - A mapping with ``"inputs"`` and ``"targets"``, and ``"present"`` and ``"weights"`` if wanted:
      the fields of a `Batch`.
    - Any other mapping: entries named as tasks are their targets, all others keyword arguments of
      the encoder.
    - A dataclass, or a named tuple with fields named as tasks: the same by their fields, in any
      order; one field that is no task's is the encoder's first argument, whatever its name.

    Args:
        batch: The batch.
        tasks: Names of the tasks, in order.

    Raises:
        ValueError: If it is neither.

    Example:
        >>> import torch
        >>> from moml.data.as_batch import as_batch
        >>> batch = as_batch({"words": torch.ones(2, 5), "a": torch.ones(2)}, ["a"])
        >>> list(batch.inputs), list(batch.targets)
        (['words'], ['a'])
    """
    if isinstance(batch, Batch):
        return batch
    if isinstance(batch, Mapping):
        return _of_mapping(batch, tasks)
    named = fields_of(batch)
    if named is not None and (is_dataclass(batch) or _speaks(named, tasks)):
        return _of_fields(named, tasks)
    if isinstance(batch, (tuple, list)) and len(batch) >= 2:
        inputs, *rest = batch
        targets = rest[0] if len(rest) == 1 else rest
        return Batch(_checked("inputs", inputs), _targets(targets, tasks))
    raise ValueError(
        f"A batch should be a `moml.data.Batch`, (inputs, targets), or a mapping, found "
        f"{_described(batch)}."
    )


def _of_mapping(batch: Mapping[Any, Any], tasks: Sequence[str]) -> Batch:
    if "inputs" in batch and "targets" in batch:
        unknown = [name for name in batch if name not in _FIELDS]
        if unknown:
            raise ValueError(
                f"A batch with 'inputs' and 'targets' should have {', '.join(_FIELDS)} alone, "
                f"found {unknown}."
            )
        targets = _targets(batch["targets"], tasks)
        present, weights = batch.get("present"), batch.get("weights")
        return Batch(_checked("inputs", batch["inputs"]), targets, present, weights)
    known = set(tasks)
    targets = {str(name): y for name, y in batch.items() if str(name) in known}
    inputs = {name: x for name, x in batch.items() if str(name) not in known}
    if not targets or not inputs:
        raise ValueError(
            f"A batch that is a mapping should have targets named as the tasks {list(tasks)}, and "
            f"keyword arguments of the encoder, found {list(batch)}."
        )
    return Batch(inputs, _tensors(targets))


def _speaks(named: Mapping[str, Any], tasks: Sequence[str]) -> bool:
    """Whether the names of a tuple's entries say what they are."""
    return {"inputs", "targets"} <= set(named) or bool(set(named) & set(tasks))


def _of_fields(named: Mapping[str, Any], tasks: Sequence[str]) -> Batch:
    """As `_of_mapping`; a single input goes to the encoder by its place."""
    rest = [name for name in named if name not in tasks]
    if {"inputs", "targets"} <= set(named) or len(rest) != 1 or len(named) < 2:
        return _of_mapping(named, tasks)
    targets = {name: y for name, y in named.items() if name in tasks}
    return Batch(_checked("inputs", named[rest[0]]), _tensors(targets))


def _targets(targets: Any, tasks: Sequence[str]) -> dict[str, Tensor]:
    """Targets by task."""
    named = fields_of(targets)
    if named is not None and set(named) & set(tasks):
        targets = named
    if isinstance(targets, Mapping):
        return _tensors(targets)
    if len(tasks) == 1 and not isinstance(targets, (tuple, list)):
        return _tensors({tasks[0]: targets})
    if isinstance(targets, (tuple, list)) and len(targets) == len(tasks):
        return _tensors(dict(zip(tasks, targets, strict=True)))
    raise ValueError(
        f"Targets of a batch should be a mapping from the tasks {list(tasks)}, or one tensor for "
        f"each in this order, found {_described(targets)}."
    )


def _tensors(targets: Mapping[Any, Any]) -> dict[str, Tensor]:
    """Targets that are there: ``None`` is a task without labels."""
    return {str(t): _checked(f"targets[{t!r}]", y) for t, y in targets.items() if y is not None}


def _checked(name: str, value: Any) -> Any:
    """The value itself, unless it is an array or a table."""
    if type(value).__module__.split(".")[0] in ("numpy", "pandas", "polars"):
        raise ValueError(
            f"`{name}` should be a tensor, found {type(value).__module__.split('.')[0]}."
            f"{type(value).__name__}. Convert it with `torch.as_tensor(...)`, a table by "
            "`torch.as_tensor(table.to_numpy())`."
        )
    return value


def _described(value: Any) -> str:
    if isinstance(value, Tensor):
        return f"one tensor of shape {tuple(value.shape)}"
    if isinstance(value, (tuple, list)):
        return f"a {type(value).__name__} of {len(value)}"
    return type(value).__name__
