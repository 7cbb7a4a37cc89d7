"""Fully convolutional encoder for dense prediction.

A way down to coarse maps that see the whole image, and a way up that joins each map, upsampled,
with the next finer one: O. Ronneberger, P. Fischer, T. Brox, "U-Net", MICCAI 2015. At the finest
level, where convolutions are dearest, the join is the projected sum of T.-Y. Lin et al., "Feature
pyramid networks for object detection", CVPR 2017.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from moml.backbone.staged import Leveled


class DenseEncoder(Leveled):
    """A small encoder-decoder that works at half the image's resolution and below.

    Args:
        in_channels: Channels of the image.
        widths: Channels at 1/2, 1/4, 1/8, ... of the image's resolution, two or more; the first is
            the width of the features. Wide coarse levels cost little and see far.
    """

    stride = 2

    def __init__(
        self, in_channels: int = 3, *, widths: tuple[int, ...] = (32, 64, 128, 128, 128)
    ) -> None:
        super().__init__()
        if len(widths) < 2:
            raise ValueError(f"`widths` should name at least two levels, found {widths}.")
        self.out_features = widths[0]
        self.example_input = torch.zeros(1, in_channels, *[2 ** len(widths)] * 2)
        self.down = nn.ModuleList([_conv(in_channels, widths[0], stride=2)])
        self.up = nn.ModuleList()  # coarse to fine
        for narrow, wide in pairwise(widths):
            self.down.append(nn.Sequential(_conv(narrow, wide, stride=2), _conv(wide, wide)))
        for narrow, wide in reversed(list(pairwise(widths[1:]))):
            self.up.append(_conv(narrow + wide, narrow))
        self.project = nn.Conv2d(widths[1], widths[0], 1)

    def levels(self, inputs: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Maps down and up again, the last one ``(B, out_features, H/2, W/2)``."""
        # Channels last is the faster order for convolutions on CPUs, and all that follows keeps it.
        finest = self.down[0](inputs.contiguous(memory_format=torch.channels_last))
        found, maps = [(finest, finest)], [finest]
        for down in self.down[1:]:
            first, second = down.children()
            before = first(maps[-1])
            maps.append(second(before))
            found.append((before, maps[-1]))
        features = maps.pop()
        for up in self.up:
            finer = maps.pop()
            joined = torch.cat([finer, _upsample(features, finer)], dim=1)
            features = up(joined)
            found.append((joined, features))
        found.append((finest, finest + _upsample(self.project(features), finest)))
        return found


def _upsample(coarse: Tensor, finer: Tensor) -> Tensor:
    return functional.interpolate(coarse, size=finer.shape[-2:], mode="nearest")


def _conv(in_channels: int, out_channels: int, *, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, 3, stride=stride, padding=1, bias=False),
        nn.BatchNorm2d(out_channels),
        nn.ReLU(),
    )
