"""Layers over channels for whatever an encoder makes: maps, vectors, tokens, nodes."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


def channel_dim(features: Tensor) -> int:
    """Where the channels are: second in maps ``(B, C, H, W)``, last in all else."""
    return 1 if features.dim() > 3 else -1


def pointwise(dims: int, inputs: int, outputs: int, *, bias: bool = True) -> nn.Conv2d | nn.Linear:
    """A linear map of the channels at every position.

    Args:
        dims: Dimensions of one sample: 3 for maps, 1 for vectors, 2 for tokens and nodes.
        inputs: Channels.
        outputs: Channels.
        bias: Whether with a bias.
    """
    if dims > 2:
        return nn.Conv2d(inputs, outputs, 1, bias=bias)
    return nn.Linear(inputs, outputs, bias=bias)


def normed(dims: int, width: int) -> nn.Module:
    """Batch normalisation of maps and vectors; layer normalisation of tokens and nodes."""
    if dims > 2:
        return nn.BatchNorm2d(width)
    return nn.BatchNorm1d(width) if dims == 1 else nn.LayerNorm(width)


def local(dims: int, inputs: int, outputs: int) -> nn.Sequential:
    """A 3x3 convolution of maps, a linear map of all else; normalisation and ReLU."""
    layer: nn.Module = (
        nn.Conv2d(inputs, outputs, 3, padding=1) if dims > 2 else nn.Linear(inputs, outputs)
    )
    return nn.Sequential(layer, normed(dims, outputs), nn.ReLU(inplace=True))


def upsampled(x: Tensor, size: torch.Size) -> Tensor:
    """Bilinear interpolation to the size of a larger map."""
    return functional.interpolate(x, size=size, mode="bilinear", align_corners=True)
