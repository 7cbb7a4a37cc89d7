"""The tensors inside a batch of any kind, and the same batch with others in their place."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor


def tensors_of(batch: Any) -> list[Tensor]:
    """All tensors in a nesting of data classes, mappings, lists and tuples, in a fixed order."""
    if isinstance(batch, Tensor):
        return [batch]
    return [tensor for part in _parts(batch) for tensor in tensors_of(part)]


def with_tensors(batch: Any, tensors: Iterator[Tensor]) -> Any:
    """A copy of the batch with its tensors replaced, in the order of `tensors_of`."""
    if isinstance(batch, Tensor):
        return next(tensors)
    if dataclasses.is_dataclass(batch) and not isinstance(batch, type):
        values = {
            f.name: with_tensors(getattr(batch, f.name), tensors) for f in dataclasses.fields(batch)
        }
        return dataclasses.replace(batch, **values)
    if isinstance(batch, Mapping):
        return {key: with_tensors(value, tensors) for key, value in batch.items()}
    if isinstance(batch, list | tuple):
        return type(batch)(with_tensors(value, tensors) for value in batch)
    return batch


def _parts(batch: Any) -> list[Any]:
    if dataclasses.is_dataclass(batch) and not isinstance(batch, type):
        return [getattr(batch, field.name) for field in dataclasses.fields(batch)]
    if isinstance(batch, Mapping):
        return list(batch.values())
    return list(batch) if isinstance(batch, list | tuple) else []
