"""What a forward pass changes besides gradients, kept and restored: to run it again as it was."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from torch import nn

from moml._random import random_state, restore_random_state


@contextmanager
def buffers_kept(module: nn.Module) -> Iterator[None]:
    """Undo what forward passes inside do to the module's buffers."""
    before = [(buffer, buffer.clone()) for buffer in module.buffers()]
    yield
    for buffer, value in before:
        buffer.data.copy_(value)  # not `copy_`: autograd may hold the buffer, as batch norm does


def draws_of(module: nn.Module) -> dict[str, Any]:
    """Where random numbers come from next: PyTorch's generators and the module's own."""
    extra = {n: copy.deepcopy(m.get_extra_state()) for n, m in _with_extra_state(module).items()}
    return {"random": random_state(), "extra": extra}


def restore_draws(module: nn.Module, state: Mapping[str, Any]) -> None:
    """Go back to what `draws_of` returned."""
    for name, one in _with_extra_state(module).items():
        one.set_extra_state(state["extra"][name])
    restore_random_state(state["random"])


def _with_extra_state(module: nn.Module) -> dict[str, nn.Module]:
    """Modules with state besides tensors: random generators, counters."""
    plain = nn.Module.get_extra_state
    return {n: m for n, m in module.named_modules() if type(m).get_extra_state is not plain}
