"""The smaller half of an image generator: from coarse maps to a raw perturbation."""

from __future__ import annotations

from torch import Tensor, nn

from moml.attack.generator._blocks import convolution


class ImageDecoder(nn.Module):
    """From feature maps to a raw perturbation, of any size in every entry; a task's own part.

    As in GAP's generators resolution is doubled again and again, by nearest neighbours and a
    convolution, which leaves no checkerboard. The first one divides the channels by four and the
    others by two (GAP: all by two), so that most of a generator's parameters and time are spent in
    its `ImageEncoder`.

    Args:
        in_features: Channels of the maps.
        out_channels: Channels of the images.
        doublings: How often the resolution is doubled; the encoder's ``halvings``.

    Raises:
        ValueError: If there are too few features for so many doublings.
    """

    def __init__(self, in_features: int, out_channels: int = 1, *, doublings: int = 2) -> None:
        super().__init__()
        if doublings < 0 or in_features < 2 ** (doublings + 1):
            raise ValueError(
                f"`in_features` should be at least {2 ** (doublings + 1)} for {doublings} "
                f"doublings, found {in_features}. They divide the channels."
            )
        layers: list[nn.Module] = []
        width = in_features
        for i in range(doublings):
            narrow = width // (2 if i else 4)
            layers += [nn.Upsample(scale_factor=2), convolution(width, narrow)]
            width = narrow
        layers.append(nn.Conv2d(width, out_channels, 3, padding=1, padding_mode="replicate"))
        self.layers = nn.Sequential(*layers)

    def forward(self, features: Tensor) -> Tensor:
        """Raw perturbation ``(B, C, h * 2**doublings, w * 2**doublings)``."""
        return self.layers(features)
