"""Letting go of a graph's saved tensors, as ``backward`` does."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NoReturn

from torch.autograd.graph import Node

_SAVED = "_raw_saved_"
_NAMES: dict[type, tuple[str, ...]] = {}  # of the tensors that an operation saves, by its class


def free(nodes: Iterable[Node]) -> None:
    """Let go of what the operations of a graph saved for their backward passes.

    ``torch.autograd.grad`` has to keep it for the next task's pass, and no pass is known to be the
    last before the method has chosen its weights. Every saved tensor is replaced by nothing. What
    `torch.autograd.graph.saved_tensors_hooks` packed, as checkpointing does, stays until the losses
    themselves are gone.
    """
    for node in nodes:
        names = _NAMES.get(node.__class__)
        if names is None:
            names = tuple(name for name in dir(node.__class__) if name.startswith(_SAVED))
            _NAMES[node.__class__] = names
        for name in names:
            saved = getattr(node, name)
            for one in saved if isinstance(saved, tuple) else (saved,):
                _drop(one)


def _drop(saved: Any) -> None:
    try:
        saved.register_hooks(_nothing, _gone)
    except (RuntimeError, AttributeError):  # nothing there, or packed by other hooks
        return


def _nothing(_: Any) -> None:
    return None


def _gone(_: Any) -> NoReturn:
    raise RuntimeError(
        "Trying to go backward through a graph that `moml.backward` has freed. Pass "
        "`retain_graph=True` to go through it again."
    )
