"""What follows a SegNet or another encoder: a small head, or a decoder for each task."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn


class SegNetHead(nn.Sequential):
    """A 3x3 and a 1x1 convolution with nothing between: the head of the multi-task SegNet.

    S. Liu, E. Johns, A. J. Davison, "End-to-end multi-task learning with attention", CVPR 2019.

    Args:
        in_features: Channels of the feature map.
        out_channels: Numbers to predict per pixel.
    """

    def __init__(self, in_features: int, out_channels: int) -> None:
        super().__init__(
            nn.Conv2d(in_features, in_features, 3, padding=1),
            nn.Conv2d(in_features, out_channels, 1),
        )


class SegNetDecoder(nn.Sequential):
    """A task's own decoder on a coarse map: upsampling and two convolutions per level, and a head.

    Features come without the places of their maxima, so maps are upsampled bilinearly where SegNet
    unpools: V. Badrinarayanan, A. Kendall, R. Cipolla, "SegNet", TPAMI 2017.

    Args:
        in_features: Channels of the feature map.
        out_channels: Numbers to predict per pixel.
        widths: Channels of the levels, each twice as large a side as the one before.
    """

    def __init__(
        self, in_features: int, out_channels: int, *, widths: Sequence[int] = (256, 128, 64)
    ) -> None:
        layers: list[nn.Module] = []
        for before, width in zip((in_features, *widths), widths, strict=False):
            upsample = nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False)
            layers += [upsample, _conv(before, width), _conv(width, width)]
        super().__init__(*layers, nn.Conv2d(widths[-1], out_channels, 1))

    def forward(self, features: Tensor) -> Tensor:
        """Prediction ``(B, out_channels, 2**L h, 2**L w)``, with ``L`` the number of levels."""
        return super().forward(features)


def _conv(inputs: int, outputs: int) -> nn.Sequential:
    convolution = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs), nn.ReLU(inplace=True))
