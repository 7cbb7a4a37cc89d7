"""Small cells in a network for small images: the space whose every cell has been trained."""

from __future__ import annotations

from collections.abc import Sequence

from moml.nas import CellSpec
from search_spaces._small_images import SmallImageSpace

OPS = ("none", "skip", "conv1", "conv3")


class NBDigits(SmallImageSpace):
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
        super().__init__(
            f"nb_digits-{num_nodes}-{'-'.join(ops)}",
            CellSpec.dense(1, num_nodes - 1, tuple(ops)),
            channels=channels,
            stages=stages,
            image=image,
            num_classes=num_classes,
        )
