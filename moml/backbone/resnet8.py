"""The smallest CIFAR-style residual network.

K. He, X. Zhang, S. Ren, J. Sun, "Deep residual learning for image recognition", CVPR 2016, with one
block a stage.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


class ResNet8(nn.Module):
    """Three stages of 16, 32 and 64 channels with one basic block each, then average pooling.

    Args:
        in_channels: Channels of the image.
    """

    out_features = 64

    def __init__(self, in_channels: int = 3) -> None:
        super().__init__()
        self.example_input = torch.zeros(1, in_channels, 32, 32)
        self.stem = nn.Sequential(
            nn.Conv2d(in_channels, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU()
        )
        self.stages = nn.Sequential(_Block(16, 16), _Block(16, 32, 2), _Block(32, 64, 2))

    def forward(self, inputs: Tensor) -> Tensor:
        """Features ``(B, 64)`` of images ``(B, in_channels, H, W)``."""
        return functional.adaptive_avg_pool2d(self.stages(self.stem(inputs)), 1).flatten(1)


class _Block(nn.Module):
    """Two 3x3 convolutions and a shortcut, projected where the shape changes."""

    def __init__(self, in_channels: int, out_channels: int, stride: int = 1) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(in_channels, out_channels, 3, stride=stride, padding=1, bias=False),
            nn.BatchNorm2d(out_channels),
            nn.ReLU(),
            nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(out_channels),
        )
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or in_channels != out_channels:
            self.shortcut = nn.Sequential(
                nn.Conv2d(in_channels, out_channels, 1, stride=stride, bias=False),
                nn.BatchNorm2d(out_channels),
            )

    def forward(self, inputs: Tensor) -> Tensor:
        return functional.relu(self.body(inputs) + self.shortcut(inputs))
