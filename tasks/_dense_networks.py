"""The networks that dense prediction is usually solved with: an encoder, and heads that fit it."""

from __future__ import annotations

from typing import Literal, get_args

from torch import nn

from moml.backbone import DeepLabHead, DenseEncoder, DenseHead, ResNet, SegNet, SegNetHead
from moml.backbone.heads import Output

Network = Literal["unet", "segnet", "deeplab"]


def check_network(network: str) -> Network:
    """The name itself.

    Raises:
        ValueError: If there is no such network.
    """
    for known in get_args(Network):
        if network == known:
            return known
    raise ValueError(f"`network` should be one of {get_args(Network)}, found {network!r}.")


def dense_encoder(network: Network) -> nn.Module:
    """A small U-Net, a SegNet, or a dilated ResNet-50."""
    match network:
        case "unet":
            return DenseEncoder(3)
        case "segnet":
            return SegNet(3)
        case "deeplab":
            return ResNet(50, dilated=True, pooled=False)


def dense_head(
    network: Network,
    in_features: int,
    channels: int,
    *,
    output: Output = "real",
    typical: float = 1.0,
) -> nn.Module:
    """A head on that encoder's features; published ones predict real numbers, whatever they mean.

    Args:
        network: The encoder.
        in_features: Width of its features.
        channels: Numbers to predict per pixel.
        output: What they are, of the small U-Net's head.
        typical: About what positive numbers are before training.
    """
    match network:
        case "unet":
            return DenseHead(in_features, channels, output=output, typical=typical)
        case "segnet":
            return SegNetHead(in_features, channels)
        case "deeplab":
            return DeepLabHead(in_features, channels)
