"""The global random state of a process, as plain tensors."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

RandomState = Mapping[str, Tensor | Sequence[Tensor]]


def random_state() -> dict[str, Tensor | list[Tensor]]:
    """State of PyTorch's global generators (dropout draws from them)."""
    devices = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []
    return {"cpu": torch.get_rng_state(), "cuda": list(devices)}


def restore_random_state(state: RandomState) -> None:
    """Restore what `random_state` returned; devices that are not there are passed over."""
    torch.set_rng_state(state["cpu"])  # type: ignore[arg-type]
    if torch.cuda.is_available() and len(state["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all(list(state["cuda"]))


@contextmanager
def replayed(state: RandomState) -> Iterator[None]:
    """Draw again what was drawn after a state; afterwards everything goes on as if nothing was."""
    now = random_state()
    restore_random_state(state)
    try:
        yield
    finally:
        restore_random_state(now)


@contextmanager
def untouched() -> Iterator[None]:
    """Leave PyTorch's global generators and number of threads as they were."""
    now, threads = random_state(), torch.get_num_threads()
    try:
        yield
    finally:
        restore_random_state(now)
        torch.set_num_threads(threads)
