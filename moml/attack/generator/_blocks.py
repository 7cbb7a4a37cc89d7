"""Convolutions of the generators: reflections at the border, normalisation within each sample.

Normalising over the batch, as the public GAP code does, would make a perturbation depend on the
images it is computed with.
"""

from __future__ import annotations

from torch import Tensor, nn


def convolution(in_channels: int, out_channels: int, *, stride: int = 1) -> nn.Sequential:
    """A 3x3 convolution, normalisation over groups of channels, ReLU."""
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, 3, stride=stride, padding=1, padding_mode="replicate"),
        normalization(out_channels),
        nn.ReLU(),
    )


def normalization(channels: int) -> nn.GroupNorm:
    """Over a quarter of the channels at a time, if they can be divided so."""
    return nn.GroupNorm(4 if channels % 4 == 0 else 1, channels)


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions beside the identity; the sum is left as it is, as in GAP."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            convolution(channels, channels),
            nn.Conv2d(channels, channels, 3, padding=1, padding_mode="replicate"),
            normalization(channels),
        )

    def forward(self, features: Tensor) -> Tensor:
        return features + self.body(features)
