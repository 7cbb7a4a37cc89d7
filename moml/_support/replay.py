"""What a forward pass changes besides gradients, kept and restored: to run it again as it was."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from moml._support.random_state import random_state, restore_random_state


@contextmanager
def buffers_kept(module: nn.Module) -> Iterator[None]:
    """Undo what forward passes inside do to the module's buffers: written to, or replaced."""
    before = [
        (part, name, buffer, buffer.clone())
        for part in module.modules()
        for name, buffer in part.named_buffers(recurse=False)
    ]
    yield
    for part, name, buffer, value in before:
        overwrite(buffer, value)
        if part._buffers.get(name) is not buffer:
            part._buffers[name] = buffer


def overwrite(tensor: Tensor, value: Tensor) -> None:
    """Write values into a tensor, behind autograd's back: it may hold a buffer, as batch norm does.

    Entries of an expanded tensor that share their memory are written once.
    """
    for dim, stride in enumerate(tensor.stride() if tensor.layout == torch.strided else ()):
        if stride == 0 and tensor.shape[dim] > 1:
            tensor, value = tensor.narrow(dim, 0, 1), value.narrow(dim, 0, 1)
    tensor.data.copy_(value)


def kept_state(module: nn.Module) -> dict[str, Any]:
    """The module's ``state_dict`` as it is now, whatever becomes of the module.

    Tensors are copied, but for those that the module replaces and never overwrites: a submodule
    declares their names in ``replaces``.
    """
    replaced = {
        f"{prefix}.{name}" if prefix else name
        for prefix, part in module.named_modules()
        for name in getattr(part, "replaces", ())
    }
    return {
        key: value
        if key in replaced
        else value.clone()
        if isinstance(value, Tensor)
        else copy.deepcopy(value)
        for key, value in module.state_dict().items()
    }


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
