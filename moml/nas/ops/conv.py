"""ReLU, a convolution, batch normalisation: the weighted operations of NAS-Bench-201."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from moml.nas.ops._base import OpSpec, halved, register


@dataclass(frozen=True)
class ReLUConvNorm(OpSpec):
    """ReLU, a dense convolution without bias, batch normalisation.

    Dong, Yang, `NAS-Bench-201 <https://arxiv.org/abs/2001.00326>`_, ICLR 2020.

    Args:
        name: Under which genotypes know it.
        kernel: Side of the kernel, odd.
    """

    kernel: int = 3

    def build(self, channels: int, *, stride: int = 1, affine: bool = True) -> nn.Module:
        """The three modules in a row."""
        return nn.Sequential(
            nn.ReLU(),
            nn.Conv2d(
                channels, channels, self.kernel, stride, padding=self.kernel // 2, bias=False
            ),
            nn.BatchNorm2d(channels, affine=affine),
        )

    def parameters(self, channels: int, *, stride: int = 1, affine: bool = True) -> int:
        """``k²C² + 2C``."""
        return self.kernel**2 * channels**2 + 2 * channels * affine

    def flops(self, channels: int, *, height: int, width: int, stride: int = 1) -> int:
        """``2 k²C²`` for every output pixel."""
        pixels = halved(height, stride) * halved(width, stride)
        return 2 * self.kernel**2 * channels**2 * pixels


CONV1 = register(ReLUConvNorm("conv1", kernel=1))
CONV3 = register(ReLUConvNorm("conv3", kernel=3))
