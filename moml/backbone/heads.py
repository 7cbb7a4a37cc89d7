"""Heads: from an encoder's features to the prediction of one task."""

from __future__ import annotations

from typing import Literal, get_args

from torch import Tensor, nn
from torch.nn import functional

from moml._support import checks

Output = Literal["real", "positive", "direction"]


class LinearHead(nn.Linear):
    """One linear layer, ``(B, in_features)`` to ``(B, out_features)``."""


class MLPHead(nn.Module):
    """One hidden layer.

    Args:
        in_features: Width of the features.
        out_features: Numbers to predict.
        hidden: Width of the hidden layer.
    """

    def __init__(self, in_features: int, out_features: int, *, hidden: int = 64) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(in_features, hidden), nn.ReLU(), nn.Linear(hidden, out_features)
        )

    def forward(self, features: Tensor) -> Tensor:
        """Prediction ``(B, out_features)``."""
        return self.layers(features)


class DenseHead(nn.Module):
    """A 3x3 and a 1x1 convolution, then sub-pixel upsampling to the image's resolution.

    Args:
        in_features: Channels of the feature map.
        out_channels: Numbers to predict per pixel.
        hidden: Channels in between.
        upscale: Image pixels per feature pixel and side.
        output: Real numbers, positive numbers (depths) or directions (normals). Positive numbers
            are exponentials, so that the layers work on a scale of ratios; directions are unit
            vectors along the channels.
        typical: For positive numbers: about what is predicted before training.
    """

    def __init__(
        self,
        in_features: int,
        out_channels: int,
        *,
        hidden: int = 32,
        upscale: int = 2,
        output: Output = "real",
        typical: float = 1.0,
    ) -> None:
        super().__init__()
        if output not in get_args(Output):
            raise ValueError(f"`output` should be one of {get_args(Output)}, found {output!r}.")
        checks.number("typical", typical, above=0)
        self.output, self.typical = output, typical
        self.layers = nn.Sequential(
            nn.Conv2d(in_features, hidden, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(hidden, out_channels * upscale**2, 1),
            nn.PixelShuffle(upscale),
        )

    def forward(self, features: Tensor) -> Tensor:
        """Prediction ``(B, out_channels, upscale * h, upscale * w)``."""
        prediction = self.layers(features)
        if self.output == "positive":
            return self.typical * prediction.exp()
        if self.output == "direction":
            return functional.normalize(prediction, dim=1)
        return prediction
