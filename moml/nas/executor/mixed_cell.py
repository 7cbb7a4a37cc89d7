"""The reference executor: every operation of every edge, one after another."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from moml.nas.cell import CellSpec
from moml.nas.discrete_cell import normalised_node
from moml.nas.ops import get_op


class MixedCell(nn.Module):
    r"""Edges carry mixtures: node j is :math:`\sum_{(i,j)} \sum_o w_{ij,o}\, o(x_i)`.

    Operations whose weight is exactly zero are not run: with one-hot weights only one path is
    (GDAS, FairNAS), and gradients reach the weights of that path alone. This is the definition that
    faster executors are tested against.

    Args:
        cell: What the cell may look like.
        name: Under which the cell finds its weights.
        channels: Channels of every node.
    """

    def __init__(self, cell: CellSpec, name: str, channels: int) -> None:
        super().__init__()
        self.cell, self.name = cell, name
        self.edges = nn.ModuleList(
            nn.ModuleList(
                nn.Identity()
                if get_op(op).is_zero
                else get_op(op).build(channels, stride=cell.stride(edge), affine=False)
                for op in cell.ops
            )
            for edge in cell.edges
        )
        self.zero = [get_op(op).is_zero for op in cell.ops]
        self.normalise = normalised_node(channels) if cell.normalised else nn.Identity()

    def forward(self, *inputs_and_weights: Tensor | Mapping[str, Tensor]) -> Tensor:
        """The output, given the cell's inputs and, last, weights ``(edges, ops)`` by name."""
        *inputs, by_name = inputs_and_weights
        assert isinstance(by_name, Mapping)
        weights = by_name[self.name]
        run = (weights.detach() != 0).tolist()
        values: dict[int, Tensor] = dict(enumerate(inputs))  # type: ignore[arg-type]
        for target in range(self.cell.inputs, self.cell.size):
            brought = [
                weights[e, o] * op(values[source])
                for e, (source, end) in enumerate(self.cell.edges)
                if end == target and source in values
                for o, op in enumerate(carried(self.edges, e))
                if run[e][o] and not self.zero[o]
            ]
            if brought:
                values[target] = self.normalise(sum(brought[1:], start=brought[0]))
        return joined(self.cell, values)


def carried(edges: nn.ModuleList, e: int) -> nn.ModuleList:
    """The operations of one edge."""
    ops = edges[e]
    assert isinstance(ops, nn.ModuleList)
    return ops


def joined(cell: CellSpec, values: Mapping[int, Tensor]) -> Tensor:
    """The cell's output; nodes that nothing reaches are zero."""
    there = next(values[n] for n in reversed(range(cell.size)) if n in values)
    outputs = [values.get(node, torch.zeros_like(there)) for node in cell.outputs]
    return outputs[0] if len(outputs) == 1 else torch.cat(outputs, dim=1)
