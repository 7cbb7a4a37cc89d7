"""Names of tasks: any string; integers stand for their decimal strings."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar

from moml._support.checks import found

V = TypeVar("V")


def task_names(names: Iterable[Any], argument: str = "heads") -> tuple[str, ...]:
    """The names as strings, in order.

    Args:
        names: Strings or integers.
        argument: How an error calls them.

    Raises:
        ValueError: If there are none, one is neither string nor integer, or two are one name.
    """
    if isinstance(names, str) or not isinstance(names, Iterable):
        raise ValueError(
            f"`{argument}` should be several task names, found {names!r}. Pass `['a', 'b']`."
        )
    given = list(names)
    for name in given:
        if not isinstance(name, (str, int)) or isinstance(name, bool):
            raise ValueError(
                f"`{argument}` should name tasks by strings or integers, found {name!r} "
                f"({type(name).__name__})."
            )
    if not given:
        raise ValueError(f"`{argument}` should hold at least one task, found none.")
    texts = tuple(map(str, given))
    if len(set(texts)) < len(texts):
        raise ValueError(f"`{argument}` should name every task once, found {given}.")
    return texts


def by_task(values: Mapping[Any, V], argument: str = "heads") -> dict[str, V]:
    """The values by names that are strings.

    Raises:
        ValueError: If there is no mapping by task.
    """
    if not hasattr(values, "keys"):  # a `torch.nn.ModuleDict` is one
        raise ValueError(f"`{argument}` should be a mapping by task, found {found(values)}.")
    return dict(zip(task_names(values, argument), values.values(), strict=True))


def in_words(tasks: Sequence[str]) -> str:
    """One or several tasks, as an error calls them."""
    return f"{'task' if len(tasks) == 1 else 'tasks'} {', '.join(map(repr, tasks))}"
