"""Fully connected encoder."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class MLP(nn.Module):
    """Linear layers, each followed by a ReLU; inputs are flattened.

    Args:
        in_features: Numbers per sample.
        hidden: Width of each layer; the last one is the width of the features.
    """

    def __init__(self, in_features: int, *, hidden: Sequence[int] = (128, 128)) -> None:
        super().__init__()
        if not hidden:
            raise ValueError("`hidden` should name at least one width, found none.")
        self.out_features = hidden[-1]
        self.example_input = torch.zeros(1, in_features)
        layers: list[nn.Module] = []
        for width_in, width_out in zip((in_features, *hidden), hidden, strict=False):
            layers += [nn.Linear(width_in, width_out), nn.ReLU()]
        self.layers = nn.Sequential(*layers)

    def forward(self, inputs: Tensor) -> Tensor:
        """Features ``(B, out_features)``."""
        return self.layers(inputs.flatten(1))
