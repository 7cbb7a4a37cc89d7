"""DeepLab's head: atrous spatial pyramid pooling, for dense prediction from coarse maps.

L.-C. Chen, G. Papandreou, F. Schroff, H. Adam, "Rethinking atrous convolution for semantic image
segmentation" (DeepLabv3), arXiv:1706.05587, 2017.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional


class DeepLabHead(nn.Module):
    """Dilated convolutions at several rates beside the image's mean, joined, then upsampled.

    Args:
        in_features: Channels of the feature map.
        out_channels: Numbers to predict per pixel.
        rates: Dilation of the 3x3 convolutions.
        hidden: Channels in between.
        upscale: Image pixels per feature pixel and side: 8 for a dilated `ResNet`.
    """

    def __init__(
        self,
        in_features: int,
        out_channels: int,
        *,
        rates: Sequence[int] = (12, 24, 36),
        hidden: int = 256,
        upscale: int = 8,
    ) -> None:
        super().__init__()
        self.upscale = upscale
        self.branches = nn.ModuleList([_conv(in_features, hidden, 1)])
        self.branches.extend(_conv(in_features, hidden, 3, rate) for rate in rates)
        self.whole = nn.Sequential(
            nn.AdaptiveAvgPool2d(1), nn.Conv2d(in_features, hidden, 1), nn.ReLU()
        )
        self.join = _conv((2 + len(rates)) * hidden, hidden, 1)
        self.predict = nn.Sequential(_conv(hidden, hidden, 3), nn.Conv2d(hidden, out_channels, 1))

    def forward(self, features: Tensor) -> Tensor:
        """Prediction ``(B, out_channels, upscale * h, upscale * w)``."""
        whole = self.whole(features).expand(-1, -1, *features.shape[2:])
        joined = self.join(torch.cat([*(branch(features) for branch in self.branches), whole], 1))
        size = [self.upscale * side for side in features.shape[2:]]
        return functional.interpolate(
            self.predict(joined), size=size, mode="bilinear", align_corners=False
        )


def _conv(inputs: int, outputs: int, size: int, rate: int = 1) -> nn.Sequential:
    padding = rate if size == 3 else 0
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, size, padding=padding, dilation=rate, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    )
