"""The relaxation of DARTS."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from moml.nas.cell import CellSpec
from moml.nas.relaxation._base import Moment, Relaxation


class Softmax(Relaxation):
    """All operations at once, weighted by the softmax over each edge's parameters.

    Liu, Simonyan & Yang, `DARTS: Differentiable Architecture Search
    <https://arxiv.org/abs/1806.09055>`_, ICLR 2019.
    """

    def weights(self, cell: CellSpec, parameters: Mapping[str, Tensor], moment: Moment) -> Tensor:
        """The probabilities themselves."""
        return self.probabilities(cell, parameters)
