"""A second classifier in the middle of a network, which helps to train it and is thrown away."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor, nn

NARROW, WIDE = 128, 768
WINDOW, STRIDE = 5, 3


class Tapped(nn.Module, ABC):
    """A classifier that also gives features of its middle, for an `AuxiliaryHead`.

    Attributes:
        middle_channels: Channels of these features.
    """

    middle_channels: int

    @abstractmethod
    def tapped(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Logits, and features ``(B, middle_channels, H, W)``."""


class AuxiliaryHead(nn.Module):
    """ReLU, average pooling to 2×2, two convolutions and a linear layer.

    Liu, Simonyan & Yang, `DARTS <https://arxiv.org/abs/1806.09055>`_, ICLR 2019, for small images:
    on maps of 8×8 pixels the pooling is theirs (windows of five, three apart).

    Args:
        channels: Channels of the features.
        num_classes: Number of classes.
        height: Rows of the features.
        width: Columns of the features.
    """

    def __init__(self, channels: int, num_classes: int, *, height: int, width: int) -> None:
        super().__init__()
        theirs = all((side - WINDOW) // STRIDE == 1 for side in (height, width))
        self.features = nn.Sequential(
            nn.ReLU(),
            nn.AvgPool2d(WINDOW, STRIDE) if theirs else nn.AdaptiveAvgPool2d(2),
            nn.Conv2d(channels, NARROW, 1, bias=False),
            nn.BatchNorm2d(NARROW),
            nn.ReLU(),
            nn.Conv2d(NARROW, WIDE, 2, bias=False),
            nn.BatchNorm2d(WIDE),
            nn.ReLU(),
        )
        self.classifier = nn.Linear(WIDE, num_classes)

    def forward(self, features: Tensor) -> Tensor:
        """Logits ``(B, classes)``."""
        logits: Tensor = self.classifier(self.features(features).flatten(1))
        return logits
