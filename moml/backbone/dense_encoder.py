"""Fully convolutional encoder-decoder for dense prediction.

O. Ronneberger, P. Fischer, T. Brox, "U-Net", MICCAI 2015: features of the way down join those of
the way up at equal resolution.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


class DenseEncoder(nn.Module):
    """A small U-Net that works at half resolution and below.

    Args:
        in_channels: Channels of the image.
        out_features: Channels of the feature map.
        widths: Channels at 1/2, 1/4, 1/8, ... of the image's resolution.
    """

    stride = 2

    def __init__(
        self,
        in_channels: int = 3,
        *,
        out_features: int = 32,
        widths: tuple[int, ...] = (24, 48, 96, 128),
    ) -> None:
        super().__init__()
        self.out_features = out_features
        self.down = nn.ModuleList(
            _block(a, b, stride=2) for a, b in zip((in_channels, *widths), widths, strict=False)
        )
        ups = (out_features, *widths[1:])
        self.up = nn.ModuleList(
            _block(deep + skip, out)
            for deep, skip, out in zip(ups[1:], widths[:-1], ups[:-1], strict=True)
        )

    def forward(self, inputs: Tensor) -> Tensor:
        """Feature map ``(B, out_features, H/2, W/2)`` of images ``(B, in_channels, H, W)``."""
        maps = []
        x = inputs
        for down in self.down:
            x = down(x)
            maps.append(x)
        for up, skip in zip(reversed(self.up), reversed(maps[:-1]), strict=True):
            x = functional.interpolate(x, size=skip.shape[-2:], mode="nearest")
            x = up(torch.cat([x, skip], dim=1))
        return x


def _block(in_channels: int, out_channels: int, *, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, 3, stride=stride, padding=1, bias=False),
        nn.BatchNorm2d(out_channels),
        nn.ReLU(),
        nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False),
        nn.BatchNorm2d(out_channels),
        nn.ReLU(),
    )
