"""The network of one cell whose edges are decided."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from moml.nas.cell import CellSpec, Choice, Edge
from moml.nas.ops import get_op


def normalised_node(channels: int) -> nn.Module:
    """What stands behind the sum of a node where edges are linear."""
    return nn.Sequential(nn.BatchNorm2d(channels, affine=False), nn.ReLU())


class DiscreteCell(nn.Module):
    """Every node sums what its edges bring; edges that are not alive are built only on demand.

    Args:
        cell: What the cell may look like.
        choice: What its edges carry.
        channels: Channels of every node.
        affine: Whether batch normalisations have a scale and a shift.

    Attributes:
        drop_path: What may leave out results of edges that are no identities, in training.

    Raises:
        ValueError: If the choice is not one of the cell, or does not connect input and output.
    """

    def __init__(
        self, cell: CellSpec, choice: Choice, *, channels: int, affine: bool = True
    ) -> None:
        super().__init__()
        cell.check(choice)
        if not cell.buildable(choice):
            raise ValueError(
                f"A genotype should lead from the input to the output, found {choice}."
            )
        self.cell, self.built = cell, cell.built(choice)
        self.ops = nn.ModuleList(
            get_op(name).build(channels, stride=cell.stride(edge), affine=affine)
            for edge, name in self.built
        )
        self.drop_path: nn.Module | None = None
        self.nodes = nn.ModuleDict()
        for target in sorted({edge[1] for edge, _ in self.built} if cell.normalised else ()):
            self.nodes[str(target)] = normalised_node(channels)

    def forward(self, *inputs: Tensor) -> Tensor:
        """The output ``(B, C, H, W)``, or ``(B, nodes · C, H, W)`` if nodes are concatenated."""
        values: dict[int, Tensor] = dict(enumerate(inputs))
        for target in range(self.cell.inputs, self.cell.size):
            brought = [
                self._kept(edge, name, op(values[edge[0]]))
                for (edge, name), op in zip(self.built, self.ops, strict=True)
                if edge[1] == target
            ]
            if self.cell.builds_dead and not brought:
                values[target] = torch.zeros_like(inputs[0])
            if brought:
                total = sum(brought[1:], start=brought[0])
                values[target] = self.nodes[str(target)](total) if self.cell.normalised else total
        outputs = [values[node] for node in self.cell.outputs]
        return outputs[0] if len(outputs) == 1 else torch.cat(outputs, dim=1)

    def _kept(self, edge: Edge, name: str, brought: Tensor) -> Tensor:
        if self.drop_path is None or (get_op(name).is_identity and self.cell.stride(edge) == 1):
            return brought
        kept: Tensor = self.drop_path(brought)
        return kept
