"""Partial channels: operations see a quarter of the channels."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

from moml.nas.cell import CellSpec
from moml.nas.executor.mixed_cell import MixedCell, carried, joined


class PartialCell(nn.Module):
    """Mixtures of part of the channels; the others pass by, and a shuffle takes turns.

    Xu et al., `PC-DARTS: Partial Channel Connections for Memory-Efficient Architecture Search
    <https://arxiv.org/abs/1907.05737>`_, ICLR 2020. Channels that pass by a reducing edge are
    max-pooled. The paper joins it with weights per edge, `moml.nas.relaxation.EdgeNormalised`. It
    is not the function of `MixedCell`; its weights are of no use to a discrete network.

    Args:
        cell: What the cell may look like.
        name: Under which the cell finds its weights.
        channels: Channels of every node.
        share: One of how many channels the operations see.

    Raises:
        ValueError: If the channels cannot be divided so, or nodes are normalised.
    """

    def __init__(self, cell: CellSpec, name: str, channels: int, *, share: int = 4) -> None:
        super().__init__()
        if channels % share:
            raise ValueError(f"`channels` should be a multiple of {share}, found {channels}.")
        if cell.normalised:
            raise ValueError("`cell` should have plain sums at its nodes, found normalised ones.")
        self.cell, self.name, self.share, self.seen = cell, name, share, channels // share
        mixed = MixedCell(cell, name, self.seen)
        self.edges, self.zero = mixed.edges, mixed.zero

    def forward(self, *inputs_and_weights: Tensor | Mapping[str, Tensor]) -> Tensor:
        """The output, given the cell's inputs and, last, weights ``(edges, ops)`` by name."""
        *inputs, by_name = inputs_and_weights
        assert isinstance(by_name, Mapping)
        weights = by_name[self.name]
        values: dict[int, Tensor] = dict(enumerate(inputs))  # type: ignore[arg-type]
        for e, edge in enumerate(self.cell.edges):
            source, target = edge
            brought = self._edge(e, values[source], weights[e], self.cell.stride(edge))
            values[target] = values[target] + brought if target in values else brought
        return joined(self.cell, values)

    def _edge(self, e: int, x: Tensor, weights: Tensor, stride: int) -> Tensor:
        seen, past = x[:, : self.seen], x[:, self.seen :]
        if stride > 1:
            past = functional.max_pool2d(past, 2, ceil_mode=True)
        mixed = past.new_zeros(len(past), self.seen, *past.shape[2:])
        for o, op in enumerate(carried(self.edges, e)):
            if not self.zero[o]:
                mixed = mixed + weights[o] * op(seen)
        return functional.channel_shuffle(torch.cat([mixed, past], dim=1), self.share)
