"""Settings of parameter groups: those that the optimizer knows, of the kind it knows them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import Any

import torch
from torch.optim import Optimizer

from moml._support.hints import hint

_KEY = "optimizer"


def check_settings(optimizer: Optimizer, settings: Mapping[str, Mapping[str, Any]]) -> None:
    """Look at what PyTorch's optimizers take without a look: they ignore what they do not know.

    Args:
        optimizer: Made with these settings.
        settings: Settings by pattern of parameter names.

    Raises:
        ValueError: If one is unknown, of another kind than its default, or a negative number.
    """
    for pattern, values in settings.items():
        for name, value in values.items():
            place = f"`param_groups['{pattern}']`"
            if name not in optimizer.defaults:
                known = sorted(optimizer.defaults)
                raise ValueError(
                    f"{place} should have settings of {type(optimizer).__name__}, "
                    f"{', '.join(known)}, found '{name}'.{hint(name, known)}"
                )
            wanted = _wanted(optimizer.defaults[name], value)
            if wanted:
                raise ValueError(f"{place} should have {wanted} as '{name}', found {value!r}.")


def by_optimizer(groups: Sequence[Mapping[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """Groups by the optimizer that they ask for; under an empty name those that ask for none."""
    found: dict[str, list[dict[str, Any]]] = {}
    for group in groups:
        rest = {key: value for key, value in group.items() if key != _KEY}
        found.setdefault(str(group.get(_KEY, "")), []).append(rest)
    return found


def of_optimizer(settings: Mapping[str, Mapping[str, Any]], name: str) -> dict[str, dict[str, Any]]:
    """Settings of the patterns that ask for this optimizer."""
    return {
        pattern: {key: value for key, value in values.items() if key != _KEY}
        for pattern, values in settings.items()
        if str(values.get(_KEY, "")) == name
    }


def optimizer_of(name: str) -> Callable[[Any], Optimizer]:
    """The optimizer of `torch.optim` of this name, or the class of a class path.

    Raises:
        ValueError: If there is none.
    """
    module, _, short = name.rpartition(".")
    try:
        found = getattr(import_module(module or "torch.optim"), short)
    except (ImportError, AttributeError):
        found = None
    if isinstance(found, type) and issubclass(found, Optimizer) and found is not Optimizer:
        return found
    known = [n for n in torch.optim.__all__ if isinstance(getattr(torch.optim, n, None), type)]
    raise ValueError(
        f"`param_groups` should have an optimizer of `torch.optim` or a class path as "
        f"'{_KEY}', found '{name}'.{hint(name, known)}"
    )


def _wanted(default: Any, value: Any) -> str:
    """Say what should be there instead; empty if the value is of the default's kind."""
    if isinstance(default, bool):
        return "" if isinstance(value, bool) else "true or false"
    if isinstance(default, int | float):
        return "" if _at_least_0(value) else "a finite number, at least 0,"
    if isinstance(default, tuple | list) and all(isinstance(one, int | float) for one in default):
        fits = isinstance(value, Sequence) and len(value) == len(default)
        return "" if fits and all(map(_at_least_0, value)) else f"{len(default)} numbers"
    return ""


def _at_least_0(value: Any) -> bool:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return number and 0 <= value < math.inf
