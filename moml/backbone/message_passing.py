"""Graph encoder on dense adjacency matrices.

K. Xu, W. Hu, J. Leskovec, S. Jegelka, "How powerful are graph neural networks?", ICLR 2019.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class MessagePassing(nn.Module):
    """Residual message passing; the embedding joins sum, mean and maximum over nodes.

    A node starts from the degrees of itself and of its neighbours (sum and maximum), and from
    nothing else. A node without an edge is padding. The result does not depend on the order of
    the nodes.

    Args:
        max_nodes: Largest number of nodes, to scale degrees.
        width: Width of a node's state.
        layers: Rounds of message passing.
        out_features: Width of the features.
    """

    def __init__(
        self, max_nodes: int = 7, *, width: int = 64, layers: int = 4, out_features: int = 128
    ) -> None:
        super().__init__()
        self.max_nodes, self.out_features = max_nodes, out_features
        self.example_input = 1 - torch.eye(max_nodes)[None]
        self.start = nn.Linear(max_nodes, width)
        self.rounds = nn.ModuleList(_Round(width) for _ in range(layers))
        self.readout = nn.Sequential(nn.Linear(3 * width, out_features), nn.ReLU())

    def forward(self, adjacency: Tensor) -> Tensor:
        """Features ``(B, out_features)`` of graphs ``(B, N, N)``."""
        degree = adjacency.sum(-1)  # (B, N)
        mask = (degree > 0).to(adjacency.dtype)[..., None]  # (B, N, 1)
        one_hot = nn.functional.one_hot(degree.long().clamp(max=self.max_nodes - 1), self.max_nodes)
        states = self.start(one_hot.to(adjacency.dtype)) * mask  # (B, N, F)
        for step in self.rounds:
            states = step(states, adjacency) * mask
        total, count = states.sum(1), mask.sum(1)
        largest = states.masked_fill(mask == 0, float("-inf")).amax(1)
        return self.readout(torch.cat([total / self.max_nodes, total / count, largest], dim=-1))


class _Round(nn.Module):
    """One round: own state and sum and mean of the neighbours' states through a two-layer MLP."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.mix = nn.Sequential(nn.Linear(2 * width, width), nn.ReLU(), nn.Linear(width, width))
        self.norm = nn.LayerNorm(width)

    def forward(self, states: Tensor, adjacency: Tensor) -> Tensor:
        messages = adjacency @ states
        return self.norm(states + self.mix(torch.cat([states, messages], dim=-1)))
