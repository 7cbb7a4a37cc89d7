"""Separable convolutions, applied twice, and dilated ones: the weighted operations of DARTS."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from moml.nas.ops._base import OpSpec, halved, register


@dataclass(frozen=True)
class SepConv(OpSpec):
    """Depthwise convolutions with a 1×1 convolution behind each, once or twice in a row.

    Every one is ReLU, depthwise, 1×1, batch normalisation; the first takes the stride. Liu,
    Simonyan & Yang, `DARTS <https://arxiv.org/abs/1806.09055>`_, ICLR 2019: separable convolutions
    are applied twice, dilated ones once.

    Args:
        name: Under which genotypes know it.
        kernel: Side of the depthwise kernel, odd.
        dilation: Distance between the pixels it sees.
        repeats: How often in a row.
    """

    kernel: int = 3
    dilation: int = 1
    repeats: int = 2

    def build(self, channels: int, *, stride: int = 1, affine: bool = True) -> nn.Module:
        """All modules in a row."""
        chain: list[nn.Module] = []
        for repeat in range(self.repeats):
            padding = self.dilation * (self.kernel // 2)
            chain += [
                nn.ReLU(),
                nn.Conv2d(
                    channels, channels, self.kernel, stride if repeat == 0 else 1,
                    padding=padding, dilation=self.dilation, groups=channels, bias=False,
                ),
                nn.Conv2d(channels, channels, 1, bias=False),
                nn.BatchNorm2d(channels, affine=affine),
            ]  # fmt: skip
        return nn.Sequential(*chain)

    def parameters(self, channels: int, *, stride: int = 1, affine: bool = True) -> int:
        """``k²C + C² + 2C`` per repeat."""
        return self.repeats * channels * (self.kernel**2 + channels + 2 * affine)

    def flops(self, channels: int, *, height: int, width: int, stride: int = 1) -> int:
        """``2 (k²C + C²)`` for every output pixel and repeat."""
        pixels = halved(height, stride) * halved(width, stride)
        return 2 * self.repeats * channels * (self.kernel**2 + channels) * pixels


SEP_CONV_3X3 = register(SepConv("sep_conv_3x3", kernel=3))
SEP_CONV_5X5 = register(SepConv("sep_conv_5x5", kernel=5))
DIL_CONV_3X3 = register(SepConv("dil_conv_3x3", kernel=3, dilation=2, repeats=1))
DIL_CONV_5X5 = register(SepConv("dil_conv_5x5", kernel=5, dilation=2, repeats=1))
