"""Convolutional encoder for images of about ten pixels a side."""

from __future__ import annotations

from torch import Tensor, nn


class SmallCNN(nn.Module):
    """Three 3x3 convolutions and a linear layer; where a stroke is stays known to the end.

    Args:
        image_size: Height and width.
        in_channels: Channels of the image.
        channels: Channels of the first convolution; the other two have twice as many.
        out_features: Width of the features.
    """

    def __init__(
        self,
        image_size: tuple[int, int] = (10, 10),
        *,
        in_channels: int = 1,
        channels: int = 16,
        out_features: int = 128,
    ) -> None:
        super().__init__()
        self.out_features = out_features
        height, width = image_size
        wide = 2 * channels
        self.layers = nn.Sequential(
            nn.Conv2d(in_channels, channels, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(channels, wide, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(wide, wide, 3, padding=1),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(wide * (height // 2) * (width // 2), out_features),
            nn.ReLU(),
        )

    def forward(self, inputs: Tensor) -> Tensor:
        """Features ``(B, out_features)`` of images ``(B, in_channels, H, W)``."""
        return self.layers(inputs)
