"""Which of ``torchrun``'s processes this is."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Launch:
    """One process among those that train together; without ``torchrun`` the only one.

    Args:
        rank: Its number; 0 writes the run folder.
        count: How many there are.
        local: Its number on this machine, which is that of its accelerator.
    """

    rank: int = 0
    count: int = 1
    local: int = 0

    @classmethod
    def current(cls) -> Launch:
        """As ``torchrun`` says in the environment."""
        if "TORCHELASTIC_RUN_ID" not in os.environ:
            return cls()
        return cls(*(int(os.environ[name]) for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK")))

    @property
    def first(self) -> bool:
        """Whether this is the process that reads, writes and prints."""
        return self.rank == 0

    def device(self, name: str) -> str:
        """Each process's own accelerator where they share a machine."""
        return f"{name}:{self.local}" if self.count > 1 and name == "cuda" else name

    @contextmanager
    def together(self, device: torch.device) -> Iterator[None]:
        """PyTorch's process group, if there are several and nobody has started it."""
        import torch.distributed as dist

        if self.count == 1 or dist.is_initialized():
            yield
            return
        if device.type == "cuda":
            import torch

            torch.cuda.set_device(device)
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
        try:
            yield
        finally:
            dist.destroy_process_group()
