"""Average pooling without normalisation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import nn

from moml.nas.ops._base import OpSpec, register


@dataclass(frozen=True)
class Average(OpSpec):
    """Mean over a window, of the pixels that are inside the image.

    Args:
        name: Under which genotypes know it.
        kernel: Side of the window, odd.
    """

    kernel: int = 3

    is_linear: ClassVar[bool] = True

    def build(self, channels: int, *, stride: int = 1, affine: bool = True) -> nn.Module:
        """`nn.AvgPool2d`."""
        return nn.AvgPool2d(self.kernel, stride, padding=self.kernel // 2, count_include_pad=False)


AVG3 = register(Average("avg3", kernel=3))
