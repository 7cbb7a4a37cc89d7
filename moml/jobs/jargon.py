"""Messages of the argument parser about classes and their options, in words of the user's."""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from moml.jobs import catalog

_TORCH = {"optimizer": "torch.optim", "scheduler": "torch.optim.lr_scheduler"}
_TYPES = {"float": "a number", "int": "an integer", "bool": "true or false", "list": "a list",
          "str": "text", "dict": "a mapping"}  # fmt: skip
_REST = r"(.+?)\.?(?= - Expected| Given value|$)"  # up to what the parser says of other types
_GIVEN = ("params", "lr", "optimizer", "encoder", "heads")  # arguments that are no options


def explained(message: str, key: str, value: str, classes: Mapping[str, str]) -> str:
    """One sentence about an option that stands for a class; empty if there is nothing to say.

    Args:
        message: The parser's.
        key: Name of the option, such as ``weighting``.
        value: What was given for it, or its default.
        classes: Kinds of `moml.jobs.catalog` by option.
    """
    text = " ".join(message.split())
    if found := re.search(f"Expected a dot import path string: {_REST}", text):
        known = known_names(key, classes)
        listed = f"among {', '.join(known)}, or a class path" if known else "a class path"
        name = found.group(1)
        return f"`{key}` should be {listed}, found '{name}'.{catalog.hint(name, known)}"
    if found := re.search(r"Option '(\w+)[\w.]*' is not accepted", text):
        name, made = found.group(1), _class(key, value, classes)
        takes = [] if made is None else _options(made)
        said = "" if made is None else f" {made.__name__} takes {', '.join(takes) or 'none'}."
        return f"There is no option `{key}.{name}`.{said}{catalog.hint(name, takes)}"
    if found := re.search(r'[Kk]ey "(\w+)": Expected a <class \'(\w+)\'>\. Got value: (\S+)', text):
        name, kind, given = found.groups()
        if name == key:
            listed = f"`{key}` should be a list, found '{given}'. Write '[{given}]'."
            return listed if kind == "list" else ""
        return f"`{key}.{name}` should be {_TYPES.get(kind, kind)}, found '{given}'."
    if found := re.search(rf"Problem with given class_path '([\w.]+)': {_REST}", text):
        path, why = found.groups()
        return f"`{key}` should be a class path, found '{path}': {why}.{_hidden(path)}"
    if found := re.search(
        r"Import path (?:[\w.]+ )?does not correspond to a subclass of (\w+)|"
        r"to be a subclass of <class '(?:[\w.]+\.)?(\w+)'>",
        text,
    ):
        kind = found.group(1) or found.group(2)
        more = " `moml meta` takes it." if kind == "Suite" and _few_shot(value) else ""
        article = "an" if kind[0] in "AEIO" else "a"
        return f"`{key}` should be {article} {kind}, found {value}.{more}"
    if found := re.search(r"Expected an instantiatable class, but ([\w.]+) is abstract", text):
        return (
            f"`{key}` should be a class that is complete, found {found.group(1)}, which is "
            "abstract. In YAML write {class_path: …, init_args: {…}}."
        )
    if "expects a function or a callable class" in text:
        return f"`{key}` should be the name of one class, or a class path, found {value}."
    return ""


def in_words(kind: str) -> str:
    """A type of Python as a user calls it."""
    return _TYPES.get(kind, f"a {kind.rpartition('.')[2].lower()}")


def known_names(key: str, classes: Mapping[str, str]) -> list[str]:
    """Names that an option knows."""
    if key == "encoder":
        return catalog.names("backbones")
    if key in classes:
        return catalog.names(classes[key])
    if key not in _TORCH:
        return []
    refused = ("Optimizer", "LBFGS", "LRScheduler", "ReduceLROnPlateau")  # not steppable
    module = import_module(_TORCH[key])
    there = [name for name in module.__all__ if inspect.isclass(getattr(module, name))]
    return sorted(name for name in there if name not in refused)


def _class(key: str, value: str, classes: Mapping[str, str]) -> type | None:
    """The class that a name or path stands for."""
    paths = {e.name: e.path for e in catalog.entries(classes[key])} if key in classes else {}
    path = paths.get(value) or (
        f"{_TORCH[key]}.{value}" if "." not in value and key in _TORCH else value
    )
    module, _, name = path.rpartition(".")
    try:
        found: Any = getattr(import_module(module), name)
    except (ImportError, AttributeError, ValueError):
        return None
    return found if inspect.isclass(found) else None


def _options(made: type) -> list[str]:
    named = inspect.signature(made).parameters.values()
    options = [p.name for p in named if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
    return [name for name in options if name not in _GIVEN]


def _hidden(path: str) -> str:
    """Say why a class in the user's own file is not found, if moml has a package of its name."""
    top = path.partition(".")[0]
    if top not in ("tasks", "search_spaces") or not Path(f"{top}.py").exists():
        return ""
    return f" A package that comes with moml hides the file {top}.py: rename it."


def _few_shot(value: str) -> bool:
    return value.rpartition(".")[2] in catalog.names("few_shot_suites")
