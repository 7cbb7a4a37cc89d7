"""Small cells in a network for small images: the space whose every cell has been trained."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import nn

from moml.nas import CellSpec, Cost, DiscreteCell, Genotype, Placement, SearchSpace, SpaceSpec
from search_spaces._small_images import SmallImageNet, fixed_cost

OPS = ("none", "skip", "conv1", "conv3")


class NBDigits(SearchSpace):
    """One cell, twice: stem, cell, reduction, cell of twice the channels, classifier.

    In the manner of Dong, Yang, `NAS-Bench-201 <https://arxiv.org/abs/2001.00326>`_, ICLR 2020, at
    the size of scikit-learn's digits (8×8). With four nodes and four operations there are 4096
    genotypes; 1010 are different connected functions (`moml.nas.equivalence`). With three nodes and
    ``avg3`` as a fifth operation 59 of 125 are.

    Args:
        num_nodes: Nodes of the cell, input and output included.
        ops: What an edge may carry.
        channels: Channels of the first cell.
        stages: Number of cells; channels double and the resolution halves from one to the next.
        image: Channels, rows and columns of the images.
        num_classes: Number of classes.

    Raises:
        ValueError: If a number is too small or an operation unknown.
    """

    def __init__(
        self,
        num_nodes: int = 4,
        ops: Sequence[str] = OPS,
        *,
        channels: int = 8,
        stages: int = 2,
        image: tuple[int, int, int] = (1, 8, 8),
        num_classes: int = 10,
    ) -> None:
        if num_nodes < 2:
            raise ValueError(f"`num_nodes` should be at least 2, found {num_nodes}.")
        for name, value in (("channels", channels), ("stages", stages), ("classes", num_classes)):
            if value < 1:
                raise ValueError(f"`{name}` should be at least 1, found {value}.")
        self.cell = CellSpec.dense(1, num_nodes - 1, tuple(ops))
        macro = ["stem", "cell", *["reduction", "cell"] * (stages - 1), "classifier"]
        name = f"nb_digits-{num_nodes}-{'-'.join(ops)}"
        self.spec = SpaceSpec(name, 1, (("cell", self.cell),), tuple(macro))
        self.channels, self.stages = channels, stages
        self.image, self.num_classes = tuple(image), num_classes

    def network(self, genotype: Genotype, *, seed: int | None = None) -> nn.Module:
        """The network of this genotype.

        Raises:
            ValueError: If the genotype is of another space or not connected.
        """
        self.check(genotype)
        choice = genotype.by_name["cell"]
        with torch.random.fork_rng(devices=[], enabled=seed is not None):
            if seed is not None:
                torch.manual_seed(seed)
            return self.skeleton(lambda width: DiscreteCell(self.cell, choice, channels=width))

    def skeleton(self, cell: Callable[[int], nn.Module]) -> SmallImageNet:
        """The network around any cells, such as those of a supernet.

        Args:
            cell: Builds the cell for so many channels.
        """
        return SmallImageNet(
            cell,
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
