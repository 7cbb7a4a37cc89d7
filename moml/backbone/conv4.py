"""The four-block convolutional network of few-shot learning.

O. Vinyals et al., "Matching networks for one shot learning", NeurIPS 2016; C. Finn, P. Abbeel,
S. Levine, "Model-agnostic meta-learning for fast adaptation of deep networks", ICML 2017.
"""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor, nn

from moml.backbone.norms import BatchNorm, GroupNorm, InstanceNorm

Norm = Literal["batch", "layer", "instance", "group", "none"]


class Conv4(nn.Module):
    """Four blocks of 3x3 convolution, normalisation, ReLU and 2x2 max-pooling.

    Args:
        image_size: Height and width, 16 pixels or more.
        in_channels: Channels of the image.
        width: Channels of every block (32 or 64 in the literature).
        norm: What is normalised together: a channel over the batch's own samples, a sample's
            channels together (``layer``), one by one (``instance``) or in four groups, or nothing.
            All but ``batch`` keep samples independent of each other.

    Raises:
        ValueError: If the image is too small, or the norm unknown.
    """

    def __init__(
        self,
        image_size: tuple[int, int] = (28, 28),
        *,
        in_channels: int = 1,
        width: int = 32,
        norm: Norm = "batch",
    ) -> None:
        super().__init__()
        if min(image_size) < 16:
            raise ValueError(f"`image_size` should be 16 or more a side, found {image_size}.")
        if norm not in get_args(Norm):
            raise ValueError(f"`norm` should be one of {get_args(Norm)}, found {norm!r}.")
        self.example_input = torch.zeros(1, in_channels, *image_size)
        self.out_features = width * (image_size[0] // 16) * (image_size[1] // 16)
        widths = (in_channels, width, width, width)
        self.blocks = nn.Sequential(*(_block(channels, width, norm) for channels in widths))

    def forward(self, inputs: Tensor) -> Tensor:
        """Features ``(B, out_features)`` of images ``(B, in_channels, H, W)``."""
        return self.blocks(inputs).flatten(1)


def _block(in_channels: int, width: int, norm: Norm) -> nn.Sequential:
    convolution = nn.Conv2d(in_channels, width, 3, padding=1)
    return nn.Sequential(convolution, _norm(norm, width), nn.ReLU(), nn.MaxPool2d(2))


def _norm(norm: Norm, width: int) -> nn.Module:
    match norm:
        case "batch":
            return BatchNorm(width)
        case "layer":
            return GroupNorm(1, width)
        case "instance":
            return InstanceNorm(width)
        case "group":
            return GroupNorm(4, width)
        case "none":
            return nn.Identity()
