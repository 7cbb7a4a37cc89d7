"""Fully convolutional encoder for dense prediction.

T.-Y. Lin et al., "Feature pyramid networks for object detection", CVPR 2017: a way down to coarse
maps that see the whole image, and a narrow way up that adds them to the finer ones.
"""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor, nn
from torch.nn import functional


class DenseEncoder(nn.Module):
    """A small feature pyramid that works at half the image's resolution and below.

    Args:
        in_channels: Channels of the image.
        out_features: Channels of the feature map and of the whole way up.
        widths: Channels on the way down, at 1/2, 1/4, 1/8, ... of the image's resolution.
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
        self.down = nn.ModuleList([_conv(in_channels, widths[0], stride=2)])
        for narrow, wide in pairwise(widths):
            self.down.append(nn.Sequential(_conv(narrow, wide, stride=2), _conv(wide, wide)))
        self.lateral = nn.ModuleList(nn.Conv2d(width, out_features, 1) for width in widths)
        self.up = nn.ModuleList(_conv(out_features, out_features) for _ in widths[1:])

    def forward(self, inputs: Tensor) -> Tensor:
        """Feature map ``(B, out_features, H/2, W/2)`` of images ``(B, in_channels, H, W)``."""
        maps = [inputs]
        for down in self.down:
            maps.append(down(maps[-1]))
        fine_to_coarse = [lateral(x) for lateral, x in zip(self.lateral, maps[1:], strict=True)]
        features = fine_to_coarse.pop()
        for up, finer in zip(self.up, reversed(fine_to_coarse), strict=True):
            size = finer.shape[-2:]
            features = up(finer + functional.interpolate(features, size=size, mode="nearest"))
        return features


def _conv(in_channels: int, out_channels: int, *, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, 3, stride=stride, padding=1, bias=False),
        nn.BatchNorm2d(out_channels),
        nn.ReLU(),
    )
