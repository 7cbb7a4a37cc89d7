"""The prediction among what a network returns."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor


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
        if isinstance(output, Mapping) and target in output:
            found = output[target]
    elif isinstance(which, str) and not isinstance(output, Mapping):
        found = getattr(output, which, None)
    else:
        try:
            found = output[which]
        except (KeyError, IndexError, TypeError):
            found = None
    if isinstance(found, Tensor):
        return found
    there = type(output).__name__
    if isinstance(output, Mapping):
        there += f" with {list(output)}"
    elif isinstance(output, tuple | list):
        there += f" of {len(output)}"
    raise ValueError(
        f"`output` should say which part of the network's output is the prediction of '{target}', "
        f"found {which!r} and a {there}."
    )
