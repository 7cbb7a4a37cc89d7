"""Nested outputs and inputs taken apart into named tensors, and put together again."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

from torch import Tensor


@dataclass(frozen=True)
class Nesting:
    """How tensors were nested: in tuples, lists, mappings and dataclasses of any type.

    Attributes:
        name: Of the tensor, if it is one.
        kind: Type of the container; ``None`` for tensors and constants.
        parts: What is in it, by key.
        constant: What is neither a tensor nor a container.
    """

    name: str = ""
    kind: type | None = None
    parts: tuple[tuple[Any, Nesting], ...] = ()
    constant: Any = None

    def filled(
        self, tensors: Mapping[str, Any], other: Callable[[Any], Any] = lambda one: one
    ) -> Any:
        """Put the tensors together as they were nested, constants changed by ``other``."""
        if self.name:
            return tensors[self.name]
        if self.kind is None:
            return other(self.constant)
        made = {key: part.filled(tensors, other) for key, part in self.parts}
        if is_dataclass(self.kind):
            return self.kind(**made)
        if issubclass(self.kind, Mapping):
            return self.kind(made)  # type: ignore[call-arg]
        if hasattr(self.kind, "_fields"):
            return self.kind(*made.values())
        return self.kind(made.values())  # type: ignore[call-arg]


def taken_apart(value: Any, name: str) -> tuple[dict[str, Tensor], Nesting]:
    """The tensors by name, and how they were nested; names begin with ``name``."""
    tensors: dict[str, Tensor] = {}
    return tensors, _walk(value, name, tensors)


def fields_of(value: Any) -> dict[str, Any] | None:
    """Entries of a dataclass or a named tuple by the names of its fields; ``None`` for others."""
    if isinstance(value, (Mapping, type)):
        return None
    if is_dataclass(value):
        return {field.name: getattr(value, field.name) for field in fields(value)}
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return dict(zip(value._fields, value, strict=True))
    return None


def tensors_in(value: Any) -> Iterator[Tensor]:
    """All tensors of nested tuples, lists, mappings and dataclasses."""
    return iter([value] if isinstance(value, Tensor) else taken_apart(value, "tensor")[0].values())


def _walk(value: Any, name: str, tensors: dict[str, Tensor]) -> Nesting:
    if isinstance(value, Tensor):
        tensors[name] = value
        return Nesting(name)
    items: dict[Any, Any]
    if isinstance(value, Mapping):
        items = dict(value.items())
    elif is_dataclass(value) and not isinstance(value, type):
        items = {field.name: getattr(value, field.name) for field in fields(value) if field.init}
    elif isinstance(value, (tuple, list)):
        items = dict(enumerate(value))
    else:
        return Nesting(constant=value)
    parts = tuple((key, _walk(one, f"{name}[{key!r}]", tensors)) for key, one in items.items())
    return Nesting(kind=type(value), parts=parts)
