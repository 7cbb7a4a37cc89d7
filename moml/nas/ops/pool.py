"""Pooling with batch normalisation: the parameter-free operations of DARTS."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import nn

from moml.nas.ops._base import OpSpec, register


@dataclass(frozen=True)
class Pool(OpSpec):
    """Largest or mean value of a window, then batch normalisation without scale and shift.

    The normalisation is there in a found network as it is in the search, so that both are the same
    function; the networks that Liu, Simonyan & Yang, `DARTS <https://arxiv.org/abs/1806.09055>`_,
    ICLR 2019, train in the end leave it out. It has no parameters.

    Args:
        name: Under which genotypes know it.
        kernel: Side of the window, odd.
        kind: Largest value, or the mean of the pixels that are inside the image.
    """

    kernel: int = 3
    kind: Literal["max", "mean"] = "max"

    def build(self, channels: int, *, stride: int = 1, affine: bool = True) -> nn.Module:
        """The two modules in a row."""
        padding = self.kernel // 2
        pool: nn.Module = (
            nn.MaxPool2d(self.kernel, stride, padding=padding)
            if self.kind == "max"
            else nn.AvgPool2d(self.kernel, stride, padding=padding, count_include_pad=False)
        )
        return nn.Sequential(pool, nn.BatchNorm2d(channels, affine=False))


MAX_POOL_3X3 = register(Pool("max_pool_3x3", kind="max"))
AVG_POOL_3X3 = register(Pool("avg_pool_3x3", kind="mean"))
