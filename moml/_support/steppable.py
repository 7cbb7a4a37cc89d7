"""Optimizers and schedulers that the loop can step: without a closure, without a measurement."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler


def steppable(optimizer: Optimizer) -> Optimizer:
    """Return the optimizer itself.

    Raises:
        ValueError: If its step needs more than gradients.
    """
    needed = _needed(type(optimizer).step)[1:]  # a scheduler wraps the step of the instance
    if needed:
        raise ValueError(
            f"`optimizer` should take steps without a {needed[0]}, found "
            f"{type(optimizer).__name__}. Several losses are differentiated once per step."
        )
    return optimizer


def stepping(make: Callable[[Optimizer], LRScheduler]) -> Callable[[Optimizer], LRScheduler]:
    """Wrap a maker of schedulers, which then refuses those that need more than steps.

    Raises:
        ValueError: When a scheduler is made whose step needs a measurement.
    """

    def made(optimizer: Optimizer) -> LRScheduler:
        scheduler = make(optimizer)
        if _needed(scheduler.step):
            raise ValueError(
                f"`scheduler` should step without a measurement, found "
                f"{type(scheduler).__name__}. It is stepped once per step."
            )
        return scheduler

    return made


def _needed(step: Callable[..., Any]) -> list[str]:
    """Arguments of a step that have no default."""
    variable = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return [
        name
        for name, parameter in inspect.signature(step).parameters.items()
        if parameter.default is inspect.Parameter.empty and parameter.kind not in variable
    ]
