"""The network of DARTS: cells that see the two before them, two reductions, a linear classifier."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from moml.nas import Tapped
from moml.nas.ops import FactorizedReduction

STEM = 3  # the stem has so many times the channels of the first cell


class DARTSNetwork(Tapped):
    """Stem (3×3 convolution, batch normalisation), cells, global average, linear classifier.

    Cells at one and two thirds of the depth are reductions: they halve the resolution and double
    the channels. A cell's inputs are the outputs of the two cells before it, each brought to its
    channels by ReLU, 1×1 convolution and batch normalisation, and to its resolution by a
    factorized reduction. Its middle, where an auxiliary head may look on, is the second reduction.

    Args:
        cell: Builds a cell by kind and channels; a cell is called with its two inputs and whatever
            else `forward` is given.
        in_channels: Channels of the images.
        channels: Channels of the first cell.
        layers: Number of cells.
        nodes: Computed nodes of a cell, side by side in its output.
        num_classes: Number of classes.
    """

    def __init__(
        self,
        cell: Callable[[str, int], nn.Module],
        *,
        in_channels: int,
        channels: int,
        layers: int,
        nodes: int,
        num_classes: int,
    ) -> None:
        super().__init__()
        stem = STEM * channels
        self.stem = nn.Sequential(
            nn.Conv2d(in_channels, stem, 3, padding=1, bias=False), nn.BatchNorm2d(stem)
        )
        self.cells, self.before = nn.ModuleList(), nn.ModuleList()
        previous, last, was_reduction = stem, stem, False
        for kind, width in plan(layers, channels):
            self.before.append(
                nn.ModuleList(
                    [
                        FactorizedReduction(previous, width)
                        if was_reduction
                        else projection(previous, width),
                        projection(last, width),
                    ]
                )
            )
            self.cells.append(cell(kind, width))
            previous, last, was_reduction = last, nodes * width, kind == "reduce"
            if len(self.cells) - 1 == 2 * layers // 3:
                self.middle, self.middle_channels = len(self.cells) - 1, last
        self.classifier = nn.Linear(last, num_classes)

    def forward(self, x: Tensor, *context: Any) -> Tensor:
        """Logits ``(B, classes)`` of images ``(B, in_channels, H, W)``."""
        return self._logits(x, context)[0]

    def tapped(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Logits, and what the second reduction gives."""
        return self._logits(x, ())

    def _logits(self, x: Tensor, context: tuple[Any, ...]) -> tuple[Tensor, Tensor]:
        previous = last = middle = self.stem(x)
        for number, (before, cell) in enumerate(zip(self.before, self.cells, strict=True)):
            first, second = before.children()
            previous, last = last, cell(first(previous), second(last), *context)
            middle = last if number == self.middle else middle
        logits: Tensor = self.classifier(last.mean((-2, -1)))
        return logits, middle


def projection(in_channels: int, channels: int) -> nn.Module:
    """ReLU, 1×1 convolution, batch normalisation."""
    return nn.Sequential(
        nn.ReLU(), nn.Conv2d(in_channels, channels, 1, bias=False), nn.BatchNorm2d(channels)
    )


def plan(layers: int, channels: int) -> list[tuple[str, int]]:
    """Kind and channels of every cell."""
    found = []
    for layer in range(layers):
        kind = "reduce" if layer in (layers // 3, 2 * layers // 3) else "normal"
        channels *= 2 if kind == "reduce" else 1
        found.append((kind, channels))
    return found
