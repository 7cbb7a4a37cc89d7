"""Gradients inside of `torch.autocast`: formed as outside of it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from functools import cache, wraps
from typing import Any, TypeVar

import torch

T = TypeVar("T")


def without_autocast(method: Callable[..., T]) -> Callable[..., T]:
    """Run a method with autocast off, on the CPU and on the accelerator.

    A loop of one's own may end inside of the block its forward pass ran in. Backward passes would
    round what they multiply there, and inner products of gradients would be right to three digits
    in place of seven.
    """

    @wraps(method)
    def called(*args: Any, **options: Any) -> T:
        on = [device for device in _devices() if torch.is_autocast_enabled(device)]
        if not on:
            return method(*args, **options)
        with ExitStack() as off:
            for device in on:
                off.enter_context(torch.autocast(device, enabled=False))
            return method(*args, **options)

    return called


@cache
def _devices() -> tuple[str, ...]:
    accelerator = torch.accelerator.current_accelerator()
    return ("cpu",) if accelerator is None else ("cpu", accelerator.type)
