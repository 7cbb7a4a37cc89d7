"""Lists and dictionaries of modules, typed by what they hold: torch's own know modules alone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar, cast
from urllib.parse import unquote

from torch import nn

M = TypeVar("M")

_TAKEN = frozenset(dir(nn.ModuleDict()))  # attributes that a submodule would hide


def module_list(modules: Iterable[M]) -> Sequence[M]:
    """An `nn.ModuleList`; typed as a sequence, so that they nest."""
    return cast(Sequence[M], nn.ModuleList(cast(Any, modules)))


def module_dict(modules: Mapping[str, M]) -> Mapping[str, M]:
    """A `TaskModules`, typed as a mapping."""
    return cast(Mapping[str, M], TaskModules(cast(Any, modules)))


class TaskModules(nn.ModuleDict):
    """Modules by task, whatever the tasks are called.

    `nn.ModuleDict` takes neither dots nor names of its own attributes ("type", "train", "values").
    Such names are escaped in the state dictionary, as in URLs; all others are as they are.
    """

    def __getitem__(self, key: str) -> nn.Module:
        return super().__getitem__(_escaped(str(key)))

    def __setitem__(self, key: str, module: nn.Module) -> None:
        super().__setitem__(_escaped(str(key)), module)

    def __delitem__(self, key: str) -> None:
        super().__delitem__(_escaped(str(key)))

    def __contains__(self, key: object) -> bool:
        return _escaped(str(key)) in self._modules

    def __iter__(self) -> Iterator[str]:
        return map(_plain, self._modules)

    def keys(self) -> list[str]:  # type: ignore[override]
        """The tasks."""
        return list(self)

    def items(self) -> list[tuple[str, nn.Module]]:  # type: ignore[override]
        """Tasks and their modules."""
        return list(zip(self, self.values(), strict=True))


def _escaped(name: str) -> str:
    """The name as a submodule's."""
    name = name.replace("%", "%25").replace(".", "%2E")
    if name in _TAKEN:
        return "".join(f"%{byte:02X}" for byte in name.encode())
    return name or "%"


def _plain(escaped: str) -> str:
    return "" if escaped == "%" else unquote(escaped)
