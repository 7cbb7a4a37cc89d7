"""A module that computes with other tensors than its own for as long as a call takes."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
import torch.utils.checkpoint as recomputation
from torch import Tensor, nn

TURN = threading.RLock()
"""Modules are shared; calls of several threads take turns."""

# Despite the name these are for all devices.
_FUSED = (
    (torch.backends.cuda.enable_flash_sdp, torch.backends.cuda.flash_sdp_enabled),
    (torch.backends.cuda.enable_mem_efficient_sdp, torch.backends.cuda.mem_efficient_sdp_enabled),
    (torch.backends.cuda.enable_cudnn_sdp, torch.backends.cuda.cudnn_sdp_enabled),
)


@contextmanager
def substituted(
    network: nn.Module,
    state: Mapping[str, Tensor],
    *,
    read_only: Collection[nn.Module] = (),
    isolated: bool = True,
) -> Iterator[None]:
    """Put tensors in the place of a network's own, and everything back afterwards.

    The network itself is called, never a copy: attributes, hooks, modes and whatever the forward
    pass refers to are those of the moment. Tied tensors stay tied. Buffers that are not given are
    replaced by copies, so that a forward pass that writes to them writes to these; plain tensors
    that a forward pass assigns (old-style weight normalization) are put back. Checkpointed parts
    are computed at once: they would otherwise be computed again, in the backward pass, with the
    network's own tensors. Attention takes its plain form where gradients are on, the only one that
    has second derivatives.

    Args:
        network: Any module.
        state: Tensors by the names of the network's parameters and buffers.
        read_only: Modules that do not write to their buffers in this call.
        isolated: Keep nothing of what the forward pass writes. Otherwise it writes to the network's
            own buffers and attributes, as always.

    Raises:
        ValueError: If a name is not one of the network's.
    """
    with TURN, _differentiable_twice():
        modules = list(network.named_modules())
        attributes = [(m, dict(m.__dict__)) for _, m in modules] if isolated else []
        own: list[tuple[dict[str, Tensor | None], str, Tensor]] = []
        fresh: dict[int, Tensor] = {}
        found = 0
        for prefix, module in modules:
            stem = f"{prefix}." if prefix else ""
            for slots in (module._parameters, module._buffers):
                for key, tensor in slots.items():
                    if tensor is None:
                        continue
                    own.append((slots, key, tensor))
                    given = state.get(stem + key)
                    if given is not None:
                        fresh[id(tensor)] = given
                        found += 1
                    elif isolated and slots is module._buffers and module not in read_only:
                        fresh.setdefault(id(tensor), tensor.clone())
        if found < len(state):
            _check_names(network, state)
        try:
            for slots, key, tensor in own:
                if id(tensor) in fresh:
                    slots[key] = fresh[id(tensor)]
            yield
        finally:
            for slots, key, tensor in own:
                slots[key] = tensor
            for module, before in attributes:
                _put_back(module.__dict__, before)


def _put_back(now: dict[str, Any], before: Mapping[str, Any]) -> None:
    """Plain tensors, and lists of them, that were assigned since."""
    changed = [n for n, v in now.items() if before.get(n) is not v and _holds_tensors(v)]
    for name in changed:
        if name in before:
            now[name] = before[name]
        else:
            del now[name]


def _holds_tensors(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return any(isinstance(one, Tensor) for one in value)
    return isinstance(value, Tensor)


def _check_names(network: nn.Module, state: Mapping[str, Tensor]) -> None:
    known = {name for name, _ in network.named_parameters(remove_duplicate=False)}
    known |= {name for name, _ in network.named_buffers(remove_duplicate=False)}
    if unknown := [name for name in state if name not in known]:
        raise ValueError(
            f"`params` should have names of the network's parameters, found {unknown[0]!r}. "
            "Were modules replaced after the optimizer or the problem was built?"
        )


@contextmanager
def _differentiable_twice() -> Iterator[None]:
    """Without recomputation and fused attention."""
    before = recomputation.CheckpointFunction, recomputation._checkpoint_without_reentrant_generator
    recomputation.CheckpointFunction = _AtOnce  # type: ignore[misc,assignment]
    recomputation._checkpoint_without_reentrant_generator = _nothing_around
    fused = [on for on, enabled in _FUSED if torch.is_grad_enabled() and enabled()]
    try:
        for switch in fused:
            switch(False)
        yield
    finally:
        for switch in fused:
            switch(True)
        (
            recomputation.CheckpointFunction,  # type: ignore[misc]
            recomputation._checkpoint_without_reentrant_generator,
        ) = before


class _AtOnce:
    """The reentrant form."""

    @staticmethod
    def apply(function: Callable[..., Any], preserve: bool, *args: Any) -> Any:
        return function(*args)


def _nothing_around(*args: Any, **kwargs: Any) -> Iterator[None]:
    """The other form: what is done before and after the function."""
    yield
