"""What an operation on an edge of a cell is: a module, and formulas for what it costs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import nn

from moml._support.hints import hint


@dataclass(frozen=True)
class OpSpec(ABC):
    """An operation that maps ``(B, C, H, W)`` to as many channels.

    The formulas say what `build` builds, and tests compare them with the module. With stride 2
    height and width are halved, rounded up.

    Args:
        name: Under which genotypes know it.
    """

    name: str

    is_zero: ClassVar[bool] = False
    """Gives zero: an edge that carries it is not there."""
    is_identity: ClassVar[bool] = False
    """Gives its input at stride 1."""
    is_linear: ClassVar[bool] = False
    """Is linear in its input, at any stride, whatever mode the module is in."""

    @abstractmethod
    def build(self, channels: int, *, stride: int = 1, affine: bool = True) -> nn.Module:
        """The module; ``affine`` gives its batch normalisations a scale and a shift."""

    def parameters(self, channels: int, *, stride: int = 1, affine: bool = True) -> int:
        """Number of parameters of the module."""
        return 0

    def flops(self, channels: int, *, height: int, width: int, stride: int = 1) -> int:
        """Floating point operations per sample of its convolutions, two per multiply-add.

        As `torch.utils.flop_counter` counts: normalisation, pooling and activations are free.

        Args:
            channels: Channels of the input and the output.
            height: Rows of the input.
            width: Columns of the input.
            stride: Step between outputs.
        """
        return 0


def check_parameters(op: OpSpec, channels: int, stride: int) -> int:
    """The formula's number of parameters, which should be that of the module.

    Raises:
        ValueError: If it is another one.
    """
    said = op.parameters(channels, stride=stride)
    with torch.random.fork_rng(devices=[]):
        try:
            with torch.device("meta"):  # shapes only
                built = op.build(channels, stride=stride)
        except (RuntimeError, NotImplementedError):  # it wants numbers
            built = op.build(channels, stride=stride)
    there = sum(parameter.numel() for parameter in built.parameters())
    if said != there:
        raise ValueError(
            f"`parameters` of the operation '{op.name}' should be {there} for {channels} channels "
            f"and stride {stride}, as its module has, found {said}. Override the formula."
        )
    return said


_REGISTRY: dict[str, OpSpec] = {}


def register(op: OpSpec) -> OpSpec:
    """Make an operation known by its name, and give it back.

    Raises:
        ValueError: If another operation has the name.
    """
    if _REGISTRY.setdefault(op.name, op) != op:
        raise ValueError(
            f"`name` should be new, found '{op.name}', which {_REGISTRY[op.name]} has."
        )
    return op


def get_op(name: str) -> OpSpec:
    """The operation of that name.

    Raises:
        ValueError: If there is none.
    """
    if name not in _REGISTRY:
        known = sorted(_REGISTRY)
        raise ValueError(f"`op` should be among {known}, found '{name}'.{hint(name, known)}")
    return _REGISTRY[name]


def op_names() -> tuple[str, ...]:
    """Names of all operations that are registered."""
    return tuple(sorted(_REGISTRY))


def halved(size: int, stride: int) -> int:
    """Rows or columns that are left at this stride."""
    return -(-size // stride)
