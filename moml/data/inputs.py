"""Inputs of a batch: a tensor, arguments of the encoder, or inputs of each task's own."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from moml._support.nesting import taken_apart

Inputs = Any
"""A tensor; a tuple or list of positional arguments; a mapping of keyword arguments; or
`TaskInputs` of any of these. Everything else is one argument of the user's own type."""


class TaskInputs(dict[str, Any]):
    """Inputs of its own for every task: declares a multi-input batch.

    A plain mapping is keyword arguments of the encoder, whatever its keys are called.

    Args:
        inputs: Inputs by task; integers stand for their decimal strings.

    Example:
        >>> import torch
        >>> from moml.data import Batch, TaskInputs
        >>> inputs = TaskInputs({"left": torch.zeros(4, 2), "right": torch.zeros(4, 2)})
        >>> Batch(inputs, {"left": torch.zeros(4), "right": torch.zeros(4)}).multi_input
        True
    """

    def __init__(self, inputs: Mapping[Any, Any]) -> None:
        if not isinstance(inputs, Mapping):
            raise ValueError(
                f"`inputs` should be a mapping from task to its inputs, found "
                f"{type(inputs).__name__}."
            )
        super().__init__({str(task): own for task, own in inputs.items()})


def call(module: Callable[..., Any], inputs: Inputs) -> Any:
    """Apply a module: to a mapping as keywords, to a tuple or list as positions, else to one input.

    A named tuple whose fields are named as the module's arguments counts as a mapping.

    Raises:
        ValueError: If the module does not take such arguments.
    """
    if isinstance(inputs, Tensor):
        return module(inputs)
    if isinstance(inputs, TaskInputs):
        raise ValueError(
            "`inputs` should be of one task here, found `TaskInputs` of "
            f"{', '.join(inputs)}. Use an architecture that runs once for each task."
        )
    positions = tuple(inputs) if isinstance(inputs, (tuple, list)) else ()
    keywords: dict[str, Any] = dict(inputs) if isinstance(inputs, Mapping) else {}
    if hasattr(inputs, "_fields") and set(inputs._fields) <= _arguments(module):
        positions, keywords = (), dict(zip(inputs._fields, positions, strict=True))
    if not positions and not keywords:
        positions = (inputs,)
    try:
        return module(*positions, **keywords)
    except TypeError as error:
        wrong = _misfit(module, positions, keywords)
        if wrong is None:
            raise
        raise ValueError(wrong) from error


def _arguments(module: Callable[..., Any]) -> set[str]:
    """Names of a module's arguments."""
    try:
        takes = module.forward if isinstance(module, nn.Module) else module
        return set(inspect.signature(takes).parameters)
    except (TypeError, ValueError):
        return set()


def mapped(
    value: Any, change: Callable[[Tensor], Any], other: Callable[[Any], Any] = lambda one: one
) -> Any:
    """The same nesting with every tensor changed, and everything that is no container, too."""
    if isinstance(value, Tensor):
        return change(value)
    tensors, nesting = taken_apart(value, "tensor")
    return nesting.filled({name: change(x) for name, x in tensors.items()}, other)


def moved(value: Any, device: torch.device | str) -> Any:
    """The inputs on a device; what is no tensor is moved by its own ``to`` if it has one."""
    if isinstance(value, Tensor):
        return value.to(device)
    return mapped(value, lambda x: x.to(device), lambda x: x.to(device) if _movable(x) else x)


def _movable(value: Any) -> bool:
    return callable(getattr(value, "to", None))


def _misfit(
    module: Callable[..., Any], positions: tuple[Any, ...], keywords: dict[str, Any]
) -> str | None:
    """Say how the arguments do not fit the signature; ``None`` if they do."""
    takes = module.forward if isinstance(module, nn.Module) else module
    try:
        signature = inspect.signature(takes)
        signature.bind(*positions, **keywords)
    except TypeError as error:
        name = type(module).__name__
        known = ", ".join(signature.parameters)
        if keywords:
            return (
                f"`inputs` should be keyword arguments of {name}({known}), found "
                f"{', '.join(map(str, keywords))}: {error}. Inputs of each task's own are declared "
                "with `moml.data.TaskInputs`."
            )
        return (
            f"`inputs` should fit {name}({known}), found {len(positions)} "
            f"positional argument{'s' * (len(positions) != 1)}: {error}."
        )
    except ValueError:
        return None
    return None
