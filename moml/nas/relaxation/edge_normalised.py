"""Edges compete with each other at every node."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from moml.nas.cell import CellSpec
from moml.nas.relaxation._base import START, Moment, Relaxation


class EdgeNormalised(Relaxation):
    """Another relaxation's weights, times a softmax over the edges into each node.

    Xu et al., `PC-DARTS <https://arxiv.org/abs/1907.05737>`_, ICLR 2020: with partial channels the
    operations' parameters fluctuate, and parameters of edges decide which of them are kept.

    Args:
        base: How operations on an edge are weighted.
    """

    def __init__(self, base: Relaxation) -> None:
        self.base = base

    def initial(self, cell: CellSpec, generator: torch.Generator) -> dict[str, Tensor]:
        """The other's parameters, and one per edge."""
        edges = START * torch.randn(len(cell.edges), generator=generator)
        return {**self.base.initial(cell, generator), "edges": edges}

    def weights(self, cell: CellSpec, parameters: Mapping[str, Tensor], moment: Moment) -> Tensor:
        """The other's weights, scaled edge by edge."""
        return self._shares(cell, parameters) * self.base.weights(cell, parameters, moment)

    def probabilities(self, cell: CellSpec, parameters: Mapping[str, Tensor]) -> Tensor:
        """The other's."""
        return self.base.probabilities(cell, parameters)

    def strengths(self, cell: CellSpec, parameters: Mapping[str, Tensor]) -> Tensor:
        """The other's, scaled edge by edge."""
        return self._shares(cell, parameters) * self.base.strengths(cell, parameters)

    def _shares(self, cell: CellSpec, parameters: Mapping[str, Tensor]) -> Tensor:
        """Softmax over the edges into the same node, ``(edges, 1)``."""
        shares = [
            parameters["edges"][[cell.edges.index(edge) for edge in cell.into(target)]].softmax(0)
            for target in range(cell.inputs, cell.size)
        ]
        return torch.cat(shares)[:, None]  # edges are grouped by target
