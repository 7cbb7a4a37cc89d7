"""The space of NAS-Bench-201: one cell of four nodes, fifteen times."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise

from torch import nn

from moml.nas import CellSpec, Cost, Genotype, Placement, SearchSpace, SpaceSpec, to_nb201
from search_spaces._checks import at_least_one
from search_spaces._residual_network import ResidualNetwork

OPS = ("none", "skip", "conv1", "conv3", "avg3")


class NASBench201(SearchSpace):
    """Four nodes, six edges, five operations: 15,625 genotypes.

    Dong & Yang, `NAS-Bench-201: Extending the Scope of Reproducible Neural Architecture Search
    <https://arxiv.org/abs/2001.00326>`_, ICLR 2020. `to_string` writes what its tables are indexed
    by, ``|nor_conv_3x3~0|+…``, and `from_string` reads that, with its names of operations or ours.
    There are 5,043 connected classes of equivalent cells by the rules of `moml.nas.equivalence`;
    the paper counts 6,466 by comparing expressions.

    With ``exact=True`` networks are the benchmark's for every string: operations on dead edges are
    built there, have parameters, and a convolution of nothing brings the shift of its
    normalisation. 3,976 of the 15,284 connected strings are larger than what is alive in them, and
    the other 341 are networks as well. It is there to compare with the benchmark's numbers; a
    search gains nothing from dead edges.

    Args:
        channels: Channels of the first stage.
        cells: Cells per stage.
        image: Channels, rows and columns of the images.
        num_classes: Number of classes.
        exact: Whether dead edges are built.

    Raises:
        ValueError: If a number is too small.
    """

    def __init__(
        self,
        *,
        channels: int = 16,
        cells: int = 5,
        image: tuple[int, int, int] = (3, 32, 32),
        num_classes: int = 10,
        exact: bool = False,
    ) -> None:
        at_least_one(channels=channels, cells=cells, num_classes=num_classes)
        self.cell = CellSpec.dense(1, 3, OPS, builds_dead=exact)
        stage = ("cell",) * cells
        macro = ("stem", *stage, "reduction", *stage, "reduction", *stage, "classifier")
        name = "nas_bench_201_exact" if exact else "nas_bench_201"
        self.spec = SpaceSpec(name, 1, (("cell", self.cell),), macro)
        self.channels, self.cells = channels, cells
        self.image, self.num_classes = tuple(image), num_classes

    def skeleton(self, cell: Callable[[str, int], nn.Module]) -> nn.Module:
        """The network around any cells, called with their kind and channels."""
        return ResidualNetwork(
            lambda channels: cell("cell", channels),
            in_channels=self.image[0],
            channels=self.channels,
            cells=self.cells,
            num_classes=self.num_classes,
        )

    def to_string(self, genotype: Genotype) -> str:
        """The cell as the benchmark writes it, with the benchmark's names of operations."""
        self.check(genotype)
        return to_nb201(genotype.by_name["cell"])

    def placements(self) -> Mapping[str, Sequence[Placement]]:
        """The cells' channels and resolutions."""
        return {"cell": [Placement(*size) for size in self._sizes() for _ in range(self.cells)]}

    def fixed(self) -> Cost:
        """Cost of stem, residual blocks and classifier."""
        sizes = self._sizes()
        (first, rows, columns), last = sizes[0], sizes[-1][0]
        colours = self.image[0]
        parameters = 9 * colours * first + 2 * first + 2 * last + (last + 1) * self.num_classes
        flops = 18 * colours * first * rows * columns + 2 * last * self.num_classes
        for (before, _, _), (after, rows, columns) in pairwise(sizes):
            kernels = 9 * before * after + 9 * after * after + before * after
            parameters += kernels + 4 * after
            flops += 2 * kernels * rows * columns
        return Cost(parameters, flops)

    def _sizes(self) -> list[tuple[int, int, int]]:
        _, height, width = self.image
        return [(self.channels * 2**s, -(-height // 2**s), -(-width // 2**s)) for s in range(3)]
