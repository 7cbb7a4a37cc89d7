"""Looks at the arguments of the loop before anything is computed."""

from __future__ import annotations

from typing import Any

from torch import nn

from moml.oracle import Oracle
from moml.problem import Objectives
from moml.weighting import Weighting


def check_arguments(problem: Any, oracle: Any, weighting: Any, steps: Any) -> None:
    """Raise a `ValueError` for what is not the loop's.

    Raises:
        ValueError: If an argument is of another type, a class among them.
    """
    hint = ""
    if isinstance(problem, nn.Module):
        hint = " Say its losses: `moml.MultiTask(network, {task: loss})`."
    _checked("problem", problem, Objectives, "a problem such as `moml.MultiTask`", hint)
    _checked("oracle", oracle, Oracle, "an oracle such as `moml.oracle.Direct()`")
    _checked("weighting", weighting, Weighting, "a weighting such as `moml.weighting.MGDA()`")
    if isinstance(steps, bool) or not isinstance(steps, int):
        raise ValueError(f"`steps` should be an integer, found {steps!r}.")
    if steps < 1:
        raise ValueError(f"`steps` should be at least 1, found {steps}.")


def _checked(name: str, value: Any, kind: type, what: str, hint: str = "") -> None:
    if isinstance(value, type):
        raise ValueError(
            f"`{name}` should be {what}, found the class {value.__name__}. Make an instance: "
            f"`{value.__name__}(...)`."
        )
    if not isinstance(value, kind):
        raise ValueError(f"`{name}` should be {what}, found {type(value).__name__}.{hint}")
