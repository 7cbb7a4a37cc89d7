"""No edge at all."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from moml.nas.ops._base import OpSpec, register


@dataclass(frozen=True)
class Zero(OpSpec):
    """Zeros, whatever the input."""

    is_zero: ClassVar[bool] = True
    is_linear: ClassVar[bool] = True

    def build(self, channels: int, *, stride: int = 1, affine: bool = True) -> nn.Module:
        """A module that gives zeros."""
        return _Zero(stride)


class _Zero(nn.Module):
    def __init__(self, stride: int) -> None:
        super().__init__()
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        return x.new_zeros(()).expand_as(x[..., :: self.stride, :: self.stride])


NONE = register(Zero("none"))
