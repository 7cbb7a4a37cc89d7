"""The larger half of an image generator: down to coarse maps, then residual blocks."""

from __future__ import annotations

from torch import Tensor, nn

from moml.attack.generator._blocks import ResidualBlock, convolution


class ImageEncoder(nn.Module):
    """From images to feature maps, in the manner of GAP's generators.

    O. Poursaeed, I. Katsman, B. Gao, S. Belongie, `Generative adversarial perturbations
    <https://arxiv.org/abs/1712.02328>`_, CVPR 2018, with all residual blocks on this side, so that
    tasks that share the encoder share most of the parameters. Smaller: for images of 8 pixels a
    side and more; their height and width need not be even.

    Args:
        in_channels: Channels of the images.
        width: Channels at full resolution; each halving doubles them.
        halvings: How often the resolution is halved.
        blocks: Number of residual blocks.

    Raises:
        ValueError: If a number is out of range.
    """

    def __init__(
        self, in_channels: int = 1, *, width: int = 16, halvings: int = 2, blocks: int = 2
    ) -> None:
        super().__init__()
        for name, value, least in (
            ("width", width, 1), ("halvings", halvings, 0), ("blocks", blocks, 0)
        ):  # fmt: skip
            if value < least:
                raise ValueError(f"`{name}` should be at least {least}, found {value}.")
        layers: list[nn.Module] = [convolution(in_channels, width)]
        layers += [convolution(width << i, width << i + 1, stride=2) for i in range(halvings)]
        self.out_features = width << halvings
        layers += [ResidualBlock(self.out_features) for _ in range(blocks)]
        self.layers = nn.Sequential(*layers)

    def forward(self, images: Tensor) -> Tensor:
        """Maps ``(B, out_features, h, w)`` of ``(B, C, H, W)``; h is H halved, rounded up."""
        return self.layers(images)
