"""Weights of a module in a safetensors file: parameters and buffers by name, nothing else."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn


def save_weights(module: nn.Module, path: Path) -> None:
    """Write parameters and buffers."""
    from safetensors.torch import save_file

    named = [*module.named_parameters(), *module.named_buffers()]
    save_file({name: t.detach().contiguous() for name, t in named}, str(path))


def load_weights(module: nn.Module, path: Path) -> None:
    """Read them back; names and shapes must be the module's."""
    from safetensors.torch import load_file

    stored = load_file(str(path))
    named = dict([*module.named_parameters(), *module.named_buffers()])
    assert stored.keys() == named.keys()
    with torch.no_grad():
        for name, tensor in named.items():
            tensor.copy_(stored[name])
