"""The network of NAS-Bench-201: three stages of cells with residual blocks between them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn
from torch.nn import functional


class ResidualNetwork(nn.Module):
    """Stem, cells, residual reduction, cells, residual reduction, cells, classifier.

    Args:
        cell: Builds a cell for so many channels; it is called with its input and whatever else
            `forward` is given.
        in_channels: Channels of the images.
        channels: Channels of the first stage; they double from one to the next.
        cells: Cells per stage.
        num_classes: Number of classes.
    """

    def __init__(
        self,
        cell: Callable[[int], nn.Module],
        *,
        in_channels: int,
        channels: int,
        cells: int,
        num_classes: int,
    ) -> None:
        super().__init__()
        widths = [channels, 2 * channels, 4 * channels]
        self.stem = nn.Sequential(
            nn.Conv2d(in_channels, channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels)
        )
        self.stages = nn.ModuleList(
            nn.ModuleList(cell(width) for _ in range(cells)) for width in widths
        )
        self.reductions = nn.ModuleList(ResidualReduction(width) for width in widths[:-1])
        self.norm = nn.Sequential(nn.BatchNorm2d(widths[-1]), nn.ReLU())
        self.classifier = nn.Linear(widths[-1], num_classes)

    def forward(self, x: Tensor, *context: Any) -> Tensor:
        """Logits ``(B, classes)`` of images ``(B, in_channels, H, W)``."""
        x = self.stem(x)
        for number, stage in enumerate(self.stages):
            if number:
                x = self.reductions[number - 1](x)
            for cell in stage:  # type: ignore[attr-defined]
                x = cell(x, *context)
        logits: Tensor = self.classifier(self.norm(x).mean((-2, -1)))
        return logits


class ResidualReduction(nn.Module):
    """A residual block of twice the channels and half the resolution.

    Two 3×3 convolutions with a ReLU before and a batch normalisation behind each, beside an average
    over 2×2 pixels and a 1×1 convolution.

    Args:
        channels: Channels of the input.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = _unit(channels, 2 * channels, 2)
        self.second = _unit(2 * channels, 2 * channels, 1)
        self.beside = nn.Conv2d(channels, 2 * channels, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Half the resolution, rounded up."""
        pooled = functional.avg_pool2d(x, 2, ceil_mode=True, count_include_pad=False)
        result: Tensor = self.second(self.first(x)) + self.beside(pooled)
        return result


def _unit(channels: int, out: int, stride: int) -> nn.Module:
    return nn.Sequential(
        nn.ReLU(), nn.Conv2d(channels, out, 3, stride, padding=1, bias=False), nn.BatchNorm2d(out)
    )
