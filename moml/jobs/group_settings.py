"""Settings of parameter groups: those that the optimizer knows, of the kind it knows them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from torch.optim import Optimizer

from moml._support.hints import hint


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
