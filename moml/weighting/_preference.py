"""Preferences between tasks, as users give them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from moml._support import checks

Preference = Sequence[float] | Mapping[str, float] | None
"""One number per task, in order or by name; ``None`` for no preference."""


def given_per_task(given: Any, *, argument: str) -> Preference:
    """What a constructor was given, before the tasks are known.

    Raises:
        ValueError: If it is no collection of finite numbers.
    """
    if given is None:
        return None
    what = "numbers, in the order of the tasks or by task name"
    if isinstance(given, Mapping):
        values = checks.numbers(argument, list(given.values()), what)
        return dict(zip(given, values, strict=True))
    return checks.numbers(argument, given, what)


def per_task(
    given: Preference, names: Sequence[str], *, argument: str, default: float
) -> Tensor:  # (K,)
    """One number per task, float64.

    Raises:
        ValueError: If there is not one finite number for each task.
    """
    if given is None:
        return torch.full((len(names),), default, dtype=torch.float64)
    if isinstance(given, Mapping):
        if set(given) != set(names):
            raise ValueError(
                f"`{argument}` should name the tasks {list(names)}, found {list(given)}."
            )
        given = [given[name] for name in names]
    values = torch.tensor([float(value) for value in given], dtype=torch.float64)
    if len(values) != len(names) or not values.isfinite().all():
        raise ValueError(
            f"`{argument}` should have one finite number for each of {list(names)}, "
            f"found {list(given)}."
        )
    return values


def preference_of(given: Preference, names: Sequence[str]) -> Tensor:  # (K,)
    """Non-negative preferences that sum to 1.

    Raises:
        ValueError: If one is negative, or all are zero.
    """
    values = per_task(given, names, argument="preference", default=1.0)
    if not (values >= 0.0).all() or not (values > 0.0).any():
        raise ValueError(
            f"`preference` should be non-negative and not all zero, found {values.tolist()}."
        )
    return values / values.sum()


def present_preference(preference: Tensor | None, m: int, *, tasks: Tensor | None) -> Tensor:
    """Preferences of the tasks present that sum to 1, ``(m,)``.

    Args:
        preference: Of all tasks; equal without it, or where it is zero for all tasks present.
        m: Number of tasks present.
        tasks: Their positions among all tasks ``(m,)``.
    """
    present = None if preference is None else rows(preference, tasks)
    if present is None or not present.sum() > 0.0:
        return torch.full((m,), 1.0 / m, dtype=torch.float64)
    return present / present.sum()


def rows(values: Tensor, tasks: Tensor | None) -> Tensor:
    """The entries of the tasks present."""
    return values if tasks is None else values[tasks]
