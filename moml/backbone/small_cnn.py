"""Convolutional encoder for images of about ten pixels a side."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class SmallCNN(nn.Module):
    """Three 3x3 convolutions and a linear layer; where a stroke is stays known to the end.

    Normalised over groups of channels, not over the batch: samples stay independent of each other,
    so it is the same network however many labels are missing and whichever task's images it sees.

    Args:
        image_size: Height and width.
        in_channels: Channels of the image.
        channels: Channels of the first convolution, a multiple of 4; the others have twice as many.
        out_features: Width of the features.
    """

    def __init__(
        self,
        image_size: tuple[int, int] = (10, 10),
        *,
        in_channels: int = 1,
        channels: int = 32,
        out_features: int = 128,
    ) -> None:
        super().__init__()
        self.out_features = out_features
        self.example_input = torch.zeros(1, in_channels, *image_size)
        height, width = image_size
        wide = 2 * channels
        self.layers = nn.Sequential(
            _conv(in_channels, channels),
            nn.MaxPool2d(2),
            _conv(channels, wide),
            _conv(wide, wide),
            nn.Flatten(),
            nn.Linear(wide * (height // 2) * (width // 2), out_features),
            nn.ReLU(),
        )

    def forward(self, inputs: Tensor) -> Tensor:
        """Features ``(B, out_features)`` of images ``(B, in_channels, H, W)``."""
        return self.layers(inputs)


def _conv(in_channels: int, out_channels: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, 3, padding=1),
        nn.GroupNorm(4, out_channels),
        nn.ReLU(),
    )
