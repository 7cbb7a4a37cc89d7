"""Dropout whose mask is a function of a key: the same in a loop, under vmap and when compiled.

N. Srivastava et al., "Dropout: a simple way to prevent neural networks from overfitting", JMLR
2014.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from moml._support import checks

_BITS = 0xFFFFFFFF


class SeededDropout(nn.Module):
    """Dropout that draws nothing: entry ``i`` is dropped if a hash of ``(key, i)`` says so.

    The key is a buffer. It is part of the state dict, and whoever calls the module as a function
    may pass another: one per episode under `torch.func.vmap`, one per inner step. With the same key
    a forward pass is a pure function, so a meta-gradient is that of one thinned network, whichever
    way it is computed. `moml.few_shot.FewShot` renews its network's keys after every meta-step; a
    loop of one's own calls `renew_masks` once a step. Networks that are trained directly have no
    need of it: `torch.nn.Dropout` does.

    Args:
        p: Share of entries dropped; the others are scaled by ``1 / (1 - p)``.
        seed: First key. Give every layer its own.

    Raises:
        ValueError: If ``p`` is no share below 1.
    """

    key: Tensor

    def __init__(self, p: float = 0.5, *, seed: int = 0) -> None:
        super().__init__()
        checks.number("p", p, least=0, below=1)
        self.p = p
        self.register_buffer("key", torch.tensor(seed * 1_000_003 + 12_345))

    def renew(self) -> None:
        """Change the key, hence the mask."""
        self.key += 1

    def forward(self, inputs: Tensor) -> Tensor:
        """Thinned inputs while training, the inputs otherwise."""
        if not self.training:
            return inputs
        index = torch.arange(inputs.numel(), device=inputs.device)
        uniform = _hash(index + _hash(self.key)).to(torch.float64) / 2**32
        kept = (uniform >= self.p).view(inputs.shape)
        return inputs * kept / (1 - self.p)


def renew_masks(network: nn.Module) -> None:
    """New masks for every seeded dropout of a network."""
    for module in network.modules():
        if isinstance(module, SeededDropout):
            module.renew()


def _hash(number: Tensor) -> Tensor:
    """The 32-bit mixer ``lowbias32`` of C. Wellons' hash prospector; 64-bit integers hold it."""
    number = number & _BITS
    number = ((number ^ (number >> 16)) * 0x7FEB352D) & _BITS
    number = ((number ^ (number >> 15)) * 0x846CA68B) & _BITS
    return number ^ (number >> 16)
