"""Vectors of spectral normalisation, which follow the weights by a forward pass of training."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.utils.parametrize import is_parametrized
from torch.nn.utils.spectral_norm import SpectralNorm

_PASSES = 3  # an episode has at least two forward passes, and a batch several episodes


@torch.no_grad()
def follow(network: nn.Module) -> None:
    """Let parametrizations with buffers look at the weights, as forward passes would.

    Nothing that an episode's forward passes write is kept. So the vectors would stay those of the
    first weights, and the norm of the weights would no longer be one.

    Args:
        network: In training mode; otherwise spectral normalisation leaves its vectors alone.
    """
    for _ in range(_PASSES):
        for module in network.modules():
            if is_parametrized(module):
                for name, own in module.parametrizations.items():  # type: ignore[union-attr, operator]
                    if next(own.buffers(), None) is not None:
                        getattr(module, name)
            for hook in module._forward_pre_hooks.values():
                if isinstance(hook, SpectralNorm):  # the old style
                    hook.compute_weight(module, do_power_iteration=module.training)
