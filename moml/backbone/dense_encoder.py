"""Fully convolutional encoder for dense prediction.

A way down to coarse maps that see the whole image, and a way up that adds each map, projected and
upsampled, to the next finer one: O. Ronneberger, P. Fischer, T. Brox, "U-Net", MICCAI 2015, with
the sums of T.-Y. Lin et al., "Feature pyramid networks for object detection", CVPR 2017.
"""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor, nn
from torch.nn import functional


class DenseEncoder(nn.Module):
    """A small encoder-decoder that works at half the image's resolution and below.

    Args:
        in_channels: Channels of the image.
        widths: Channels at 1/2, 1/4, 1/8, ... of the image's resolution; the first is the width of
            the features.
    """

    stride = 2

    def __init__(
        self, in_channels: int = 3, *, widths: tuple[int, ...] = (32, 48, 96, 128)
    ) -> None:
        super().__init__()
        self.out_features = widths[0]
        self.down = nn.ModuleList([_conv(in_channels, widths[0], stride=2)])
        self.project, self.up = nn.ModuleList(), nn.ModuleList()
        for narrow, wide in pairwise(widths):
            self.down.append(nn.Sequential(_conv(narrow, wide, stride=2), _conv(wide, wide)))
            self.project.append(nn.Conv2d(wide, narrow, 1))
            self.up.append(_conv(narrow, narrow))

    def forward(self, inputs: Tensor) -> Tensor:
        """Feature map ``(B, out_features, H/2, W/2)`` of images ``(B, in_channels, H, W)``."""
        maps = [inputs]
        for down in self.down:
            maps.append(down(maps[-1]))
        features = maps[-1]
        for level in reversed(range(len(self.up))):
            finer, coarse = maps[level + 1], self.project[level](features)
            size = finer.shape[-2:]
            features = self.up[level](
                finer + functional.interpolate(coarse, size=size, mode="nearest")
            )
        return features


def _conv(in_channels: int, out_channels: int, *, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, 3, stride=stride, padding=1, bias=False),
        nn.BatchNorm2d(out_channels),
        nn.ReLU(),
    )
