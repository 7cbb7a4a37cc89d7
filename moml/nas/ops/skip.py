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
        return (
            nn.Identity() if stride == 1 else FactorizedReduction(channels, channels, affine=affine)
        )

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


class FactorizedReduction(nn.Module):
    """Two interleaved 1×1 convolutions of stride 2, side by side.

    Args:
        in_channels: Channels of the input.
        channels: Channels of the output.
        affine: Whether the batch normalisation has a scale and a shift.
    """

    def __init__(self, in_channels: int, channels: int, *, affine: bool = True) -> None:
        super().__init__()
        self.even = nn.Conv2d(in_channels, channels // 2, 1, bias=False)
        self.odd = nn.Conv2d(in_channels, channels - channels // 2, 1, bias=False)
        self.norm = nn.BatchNorm2d(channels, affine=affine)

    def forward(self, x: Tensor) -> Tensor:
        """Half the resolution, rounded up."""
        x = functional.relu(x)
        shifted = functional.pad(x, (0, 1, 0, 1))[..., 1::2, 1::2]  # for odd sizes too
        # Slices instead of strides: PyTorch 2.13 corrupts memory on a CPU in strided 1×1 ones
        # of fewer than eight channels in the layout channels_last.
        parts = [self.even(x[..., ::2, ::2]), self.odd(shifted)]
        out: Tensor = self.norm(torch.cat(parts, dim=1))
        return out


SKIP = register(Skip("skip"))
