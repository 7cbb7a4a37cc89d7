"""The smaller half of an image generator: from coarse maps to a raw perturbation."""

from __future__ import annotations

from torch import Tensor, nn

from moml.attack.generator._blocks import convolution


class ImageDecoder(nn.Module):
    """From feature maps to a raw perturbation, of any size in every entry; a task's own part.

    As in GAP's generators each doubling of the resolution halves the channels; by nearest
    neighbours and a convolution, which leaves no checkerboard.

    Args:
        in_features: Channels of the maps.
        out_channels: Channels of the images.
        doublings: How often the resolution is doubled; the encoder's ``halvings``.

    Raises:
        ValueError: If there are too few features for so many doublings.
    """

    def __init__(self, in_features: int, out_channels: int = 1, *, doublings: int = 2) -> None:
        super().__init__()
        if in_features % 2**doublings:
            raise ValueError(
                f"`in_features` should be a multiple of {2**doublings} for {doublings} doublings, "
                f"found {in_features}. Each one halves the channels."
            )
        layers: list[nn.Module] = []
        width = in_features
        for _ in range(doublings):
            layers += [nn.Upsample(scale_factor=2), convolution(width, width // 2)]
            width //= 2
        layers.append(nn.Conv2d(width, out_channels, 3, padding=1, padding_mode="replicate"))
        self.layers = nn.Sequential(*layers)

    def forward(self, features: Tensor) -> Tensor:
        """Raw perturbation ``(B, C, h * 2**doublings, w * 2**doublings)``."""
        return self.layers(features)
