"""Cells with linear edges, whose supernet costs no more than one of its networks."""

from __future__ import annotations

from collections.abc import Sequence

from moml.nas import CellSpec, Genotype, relabelled
from search_spaces._small_images import SmallImageSpace

OPS = ("none", "skip", "linear_avg3", "linear1", "linear3", "linear5")


class LinearCells(SmallImageSpace):
    """Edges are linear; normalisation and ReLU stand at the nodes, behind the sum.

    What edges bring to a node then adds up to one convolution, so that `moml.nas.MergedCell` runs a
    mixture of all operations at the price of the largest. Networks around the cell are those of
    `NBDigits`.

    Args:
        num_nodes: Nodes of the cell, input and output included.
        ops: What an edge may carry: linear operations.
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
        cell = CellSpec.dense(1, num_nodes - 1, tuple(ops), normalised=True)
        super().__init__(
            f"linear_cells-{num_nodes}-{'-'.join(ops)}",
            cell,
            channels=channels,
            stages=stages,
            image=image,
            num_classes=num_classes,
        )

    def key(self, genotype: Genotype) -> str:
        """Equal for isomorphic cells: nodes are not linear, so that sums cannot be flattened."""
        return str(relabelled(self.cell, genotype.by_name["cell"]))
