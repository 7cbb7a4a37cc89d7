"""Lists and dictionaries of modules, typed by what they hold: torch's own know modules alone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar, cast

from torch import nn

M = TypeVar("M")


def module_list(modules: Iterable[M]) -> Sequence[M]:
    """An `nn.ModuleList`; typed as a sequence, so that they nest."""
    return cast(Sequence[M], nn.ModuleList(cast(Any, modules)))


def module_dict(modules: Mapping[str, M]) -> Mapping[str, M]:
    """An `nn.ModuleDict`, typed as a mapping."""
    return cast(Mapping[str, M], nn.ModuleDict(cast(Any, modules)))
