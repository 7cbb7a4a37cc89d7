"""Linear operations: convolutions and averages without normalisation, which can be added up."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import nn

from moml.nas.ops._base import OpSpec, halved, register


@dataclass(frozen=True)
class LinearConv(OpSpec):
    """A dense convolution without bias and nothing else.

    Args:
        name: Under which genotypes know it.
        kernel: Side of the kernel, odd.
    """

    kernel: int = 3

    is_linear: ClassVar[bool] = True

    def build(self, channels: int, *, stride: int = 1, affine: bool = True) -> nn.Module:
        """`nn.Conv2d`."""
        padding = self.kernel // 2
        return nn.Conv2d(channels, channels, self.kernel, stride, padding=padding, bias=False)

    def parameters(self, channels: int, *, stride: int = 1, affine: bool = True) -> int:
        """``k²C²``."""
        return self.kernel**2 * channels**2

    def flops(self, channels: int, *, height: int, width: int, stride: int = 1) -> int:
        """``2 k²C²`` for every output pixel."""
        return 2 * self.kernel**2 * channels**2 * halved(height, stride) * halved(width, stride)


@dataclass(frozen=True)
class LinearAverage(OpSpec):
    """Mean over a window, with zeros outside the image: a convolution with a fixed kernel.

    Args:
        name: Under which genotypes know it.
        kernel: Side of the window, odd.
    """

    kernel: int = 3

    is_linear: ClassVar[bool] = True

    def build(self, channels: int, *, stride: int = 1, affine: bool = True) -> nn.Module:
        """`nn.AvgPool2d`."""
        return nn.AvgPool2d(self.kernel, stride, padding=self.kernel // 2)


LINEAR1 = register(LinearConv("linear1", kernel=1))
LINEAR3 = register(LinearConv("linear3", kernel=3))
LINEAR5 = register(LinearConv("linear5", kernel=5))
LINEAR_AVG3 = register(LinearAverage("linear_avg3", kernel=3))
