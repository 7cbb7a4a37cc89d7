"""Types and phrases of the argument parser in words of the user's."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

from moml.jobs import catalog

_WORDS: dict[Any, str] = {
    int: "an integer",
    float: "a number",
    bool: "true or false",
    str: "text",
    Path: "a path",
    list[str]: "a list of names",
    list[str | int]: "a list of names",
    list[int]: "a list of integers",
    list[float]: "a list of numbers",
    tuple[float, float]: "two numbers such as [0, 1]",
    dict[str, dict[str, Any]]: "settings by name as in {encoder: {lr: 0.001}}",
}


def expected(kind: Any) -> str:
    """A type in words; empty if it is not one of plain values.

    Args:
        kind: A type, or a union of some.
    """
    united = get_origin(kind) in (Union, UnionType)
    kinds = [one for one in get_args(kind) if one is not NoneType] if united else [kind]
    texts = [
        " or ".join(map(repr, get_args(one))) if get_origin(one) is Literal else _WORDS.get(one, "")
        for one in kinds
    ]
    return " or ".join(texts) if all(texts) else ""


def phrased(message: str, known: Sequence[str]) -> str:
    """One sentence about an option that is missing, unknown or incomplete; empty if it is none.

    Args:
        message: The parser's.
        known: Names of all options.
    """
    if found := re.search(r"arguments are required: (\w+)(?:,|$)", message):
        return f"`{found.group(1)}` should be given, found nothing."
    if found := re.search(r"argument --?([\w.]+): expected (?:one|at least one) argument", message):
        return f"`{found.group(1)}` should have a value after it, found none."
    if found := re.search(
        r"argument --([\w.]+): invalid choice: (.+?) \(choose from (.+)\)", message
    ):
        name, value, choices = found.groups()
        names = re.findall(r"'([^']*)'", choices)
        hint = catalog.hint(value.strip("'"), names)
        return f"`{name}` should be among {', '.join(names)}, found {value}.{hint}"
    if found := re.search(
        r"[Uu]nrecognized arguments: --([\w.-]+)|Key '([\w.]+)' is not|"
        r"^Option '([\w.]+)' is not accepted",
        message,
    ):
        name = next(filter(None, found.groups()))
        return f"There is no option `{name}`.{catalog.hint(name, known)}"
    if found := re.search(r"[Uu]nrecognized arguments: (\S+)", message):
        return f"Every value should follow its option, found {found.group(1)!r} by itself."
    return ""
