"""The fixed part of a network for small images: stem, cells, reductions, classifier."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any, ClassVar

from torch import Tensor, nn

from moml.nas import CellSpec, Cost, Placement, SearchSpace, SpaceSpec
from search_spaces._checks import at_least_one


class SmallImageNet(nn.Module):
    """Stem, a cell, then a reduction and a cell of twice the channels, and so on; classifier.

    Stem: 3×3 convolution, batch normalisation. Reduction: ReLU, 3×3 convolution of stride 2, batch
    normalisation. Classifier: batch normalisation, ReLU, global average, linear.

    Args:
        cell: Builds the cell for so many channels; a cell is called with its input and whatever
            else `forward` is given.
        in_channels: Channels of the images.
        channels: Channels of the first cell.
        stages: Number of cells.
        num_classes: Number of classes.
    """

    def __init__(
        self,
        cell: Callable[[int], nn.Module],
        *,
        in_channels: int = 1,
        channels: int = 8,
        stages: int = 2,
        num_classes: int = 10,
    ) -> None:
        super().__init__()
        widths = [channels * 2**stage for stage in range(stages)]
        self.stem = nn.Sequential(
            nn.Conv2d(in_channels, channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels)
        )
        self.cells = nn.ModuleList(cell(width) for width in widths)
        self.reductions = nn.ModuleList(_reduction(width) for width in widths[:-1])
        self.norm = nn.Sequential(nn.BatchNorm2d(widths[-1]), nn.ReLU())
        self.classifier = nn.Linear(widths[-1], num_classes)

    def forward(self, x: Tensor, *context: Any) -> Tensor:
        """Logits ``(B, classes)`` of images ``(B, in_channels, H, W)``."""
        x = self.stem(x)
        for stage, cell in enumerate(self.cells):
            if stage:
                x = self.reductions[stage - 1](x)
            x = cell(x, *context)
        logits: Tensor = self.classifier(self.norm(x).mean((-2, -1)))
        return logits


class SmallImageSpace(SearchSpace):
    """A space of one kind of cell, the cells of a `SmallImageNet`.

    Args:
        num_nodes: Nodes of the cell, input and output included.
        ops: What an edge may carry; all operations that the space is known for unless given.
        channels: Channels of the first cell.
        stages: Number of cells; channels double and the resolution halves from one to the next.
        image: Channels, rows and columns of the images.
        num_classes: Number of classes.
    """

    title: ClassVar[str]
    """What names of its versions begin with."""
    known_for: ClassVar[tuple[str, ...]]
    """Operations."""
    normalised: ClassVar[bool] = False
    """Whether normalisation stands at the nodes."""

    def __init__(
        self,
        num_nodes: int = 4,
        ops: Sequence[str] | None = None,
        *,
        channels: int = 8,
        stages: int = 2,
        image: tuple[int, int, int] = (1, 8, 8),
        num_classes: int = 10,
    ) -> None:
        if num_nodes < 2:
            raise ValueError(f"`num_nodes` should be at least 2, found {num_nodes}.")
        ops = tuple(self.known_for if ops is None else ops)
        name = f"{self.title}-{num_nodes}-{'-'.join(ops)}"
        cell = CellSpec.dense(1, num_nodes - 1, ops, normalised=self.normalised)
        at_least_one(channels=channels, stages=stages, num_classes=num_classes)
        macro = ("stem", "cell", *("reduction", "cell") * (stages - 1), "classifier")
        self.spec = SpaceSpec(name, 1, (("cell", cell),), macro)
        self.cell, self.channels, self.stages = cell, channels, stages
        self.image, self.num_classes = tuple(image), num_classes

    def skeleton(self, cell: Callable[[str, int], nn.Module]) -> nn.Module:
        """The network around any cells, called with their kind and channels."""
        return SmallImageNet(
            lambda channels: cell("cell", channels),
            in_channels=self.image[0],
            channels=self.channels,
            stages=self.stages,
            num_classes=self.num_classes,
        )

    def placements(self) -> Mapping[str, Sequence[Placement]]:
        """The cells' channels and resolutions."""
        return {"cell": [Placement(*size) for size in self._sizes()]}

    def fixed(self) -> Cost:
        """Cost of stem, reductions and classifier."""
        sizes = self._sizes()
        return Cost(*fixed_cost(sizes, in_channels=self.image[0], num_classes=self.num_classes))

    def _sizes(self) -> list[tuple[int, int, int]]:
        _, height, width = self.image
        return [
            (self.channels * 2**s, -(-height // 2**s), -(-width // 2**s))
            for s in range(self.stages)
        ]


def _reduction(channels: int) -> nn.Module:
    return nn.Sequential(
        nn.ReLU(),
        nn.Conv2d(channels, 2 * channels, 3, stride=2, padding=1, bias=False),
        nn.BatchNorm2d(2 * channels),
    )


def fixed_cost(
    sizes: Sequence[tuple[int, int, int]], *, in_channels: int, num_classes: int
) -> tuple[int, int]:
    """Parameters, and floating point operations per sample, of everything but the cells.

    Args:
        sizes: Channels, rows and columns of every cell.
        in_channels: Channels of the images.
        num_classes: Number of classes.
    """
    first, rows, columns = sizes[0]
    parameters = 9 * in_channels * first + 2 * first
    flops = 2 * 9 * in_channels * first * rows * columns
    for (before, _, _), (after, rows, columns) in pairwise(sizes):
        parameters += 9 * before * after + 2 * after
        flops += 2 * 9 * before * after * rows * columns
    last = sizes[-1][0]
    return parameters + 2 * last + (last + 1) * num_classes, flops + 2 * last * num_classes
