"""The prediction among what a network returns."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from moml._support.nesting import fields_of


def prediction_of(output: Any, which: str | int | None, target: str) -> Tensor:
    """The tensor that a loss is of.

    Args:
        output: A tensor, or a mapping, tuple or object with tensors.
        which: The key, position or attribute; ``None`` for the tensor itself, or a mapping's entry
            of the target's name.
        target: Name of the target.

    Raises:
        ValueError: If there is no such tensor.
    """
    found = output
    if which is None:
        parts = output if isinstance(output, Mapping) else fields_of(output) or {}
        found = parts.get(target, output)
    elif isinstance(which, str) and not isinstance(output, Mapping):
        found = getattr(output, which, None)
    else:
        try:
            found = output[which]
        except (KeyError, IndexError, TypeError):
            found = None
    if isinstance(found, Tensor):
        return found
    there, named = type(output).__name__, fields_of(output)
    if isinstance(output, Mapping) or named is not None:
        there += f" with {list(output if named is None else named)}"
    elif isinstance(output, tuple | list):
        there += f" of {len(output)}"
    raise ValueError(
        f"`output` should say which part of the network's output is the prediction of '{target}', "
        f"found {which!r} and a {there}."
    )
