"""What a network's computation depends on besides the values of its tensors."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

from torch import nn

_PLAIN = frozenset({bool, int, float, str, type(None)})


def fingerprint(network: nn.Module) -> Hashable:
    """Types, modes, attributes, hooks and the identity of tensors of all modules.

    Two calls give the same as long as what was found out about the network (traced, compared)
    holds. Objects of other kinds count by identity: a change inside them is not seen.
    """
    return tuple([(type(module), *_values(module.__dict__)) for module in network.modules()])


def _values(values: Mapping[Any, Any]) -> list[Hashable]:
    return [v if type(v) in _PLAIN else _value(v) for v in values.values()]


def _value(value: Any) -> Hashable:
    if isinstance(value, dict):
        return (*value, *_values(value)) if value else ()
    if isinstance(value, list | tuple):
        return tuple([v if type(v) in _PLAIN else _value(v) for v in value])
    return id(value)
