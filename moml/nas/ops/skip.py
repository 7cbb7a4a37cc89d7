"""The identity, or two interleaved 1×1 convolutions where the resolution halves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from moml.nas.ops._base import OpSpec, halved, register


@dataclass(frozen=True)
class Skip(OpSpec):
    """The input itself; at stride 2 a factorized reduction, which has weights.

    Liu, Simonyan, Yang, `DARTS <https://arxiv.org/abs/1806.09055>`_, ICLR 2019: ReLU, then one half
    of the channels from the pixels at even, the other from those at odd places, then batch
    normalisation.
    """

    is_identity: ClassVar[bool] = True

    def build(self, channels: int, *, stride: int = 1, affine: bool = True) -> nn.Module:
        """`nn.Identity` at stride 1."""
        return nn.Identity() if stride == 1 else _FactorizedReduction(channels, affine)

    def parameters(self, channels: int, *, stride: int = 1, affine: bool = True) -> int:
        """None at stride 1, otherwise ``C² + 2C``."""
        return 0 if stride == 1 else channels * channels + 2 * channels * affine

    def flops(self, channels: int, *, height: int, width: int, stride: int = 1) -> int:
        """None at stride 1, otherwise those of a 1×1 convolution."""
        return (
            0
            if stride == 1
            else 2 * channels * channels * halved(height, stride) * halved(width, stride)
        )


class _FactorizedReduction(nn.Module):
    def __init__(self, channels: int, affine: bool) -> None:
        super().__init__()
        self.even = nn.Conv2d(channels, channels // 2, 1, stride=2, bias=False)
        self.odd = nn.Conv2d(channels, channels - channels // 2, 1, stride=2, bias=False)
        self.norm = nn.BatchNorm2d(channels, affine=affine)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.relu(x)
        shifted = functional.pad(x, (0, 1, 0, 1))[..., 1:, 1:]  # same size for odd inputs too
        out: Tensor = self.norm(torch.cat([self.even(x), self.odd(shifted)], dim=1))
        return out


SKIP = register(Skip("skip"))
