"""Cells with linear edges, whose supernet costs no more than one of its networks."""

from __future__ import annotations

from moml.nas import Genotype, relabelled
from search_spaces._small_images import SmallImageSpace

OPS = ("none", "skip", "linear_avg3", "linear1", "linear3", "linear5")


class LinearCells(SmallImageSpace):
    """Edges are linear; normalisation and ReLU stand at the nodes, behind the sum.

    What edges bring to a node then adds up to one convolution, so that `moml.nas.MergedCell` runs a
    mixture of all operations at the price of the largest. Networks around the cell are those of
    `NBDigits`.

    Raises:
        ValueError: If a number is too small or an operation unknown.
    """

    title, known_for, normalised = "linear_cells", OPS, True

    def key(self, genotype: Genotype) -> str:
        """Equal for isomorphic cells: nodes are not linear, so that sums cannot be flattened."""
        return str(relabelled(self.cell, genotype.by_name["cell"]))
