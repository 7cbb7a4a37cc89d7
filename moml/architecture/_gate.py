"""Gates: weights that sum to one, read off features; and the mixtures they make."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from moml._support import checks


def pooled(features: Tensor) -> Tensor:
    """One vector per sample ``(B, C)``.

    Maps ``(B, C, H, W)`` are averaged over positions, tokens and nodes ``(B, N, C)`` over their
    number; vectors ``(B, C)`` stay as they are.
    """
    if features.dim() == 3:
        return features.mean(1)
    return features.flatten(2).mean(2) if features.dim() > 3 else features


class Gate(nn.Module):
    """Softmax of a linear map of pooled features.

    Args:
        in_features: Width of the features.
        choices: How many things are mixed.
    """

    def __init__(self, in_features: int, choices: int) -> None:
        super().__init__()
        self.linear = nn.Linear(in_features, choices)

    def forward(self, pooled: Tensor) -> Tensor:
        """Weights ``(B, choices)`` of vectors ``(B, in_features)``."""
        return self.linear(pooled).softmax(-1)


def mixture(weights: Tensor, values: Sequence[Tensor]) -> Tensor:
    """Sum of values ``(B, ...)``, each times its column of ``weights`` ``(B, K)`` or ``(K,)``."""
    total: Tensor | None = None
    for weight, value in zip(weights.unbind(-1), values, strict=True):
        shape = (-1, *(1 for _ in value.shape[1:])) if weight.dim() else ()
        term = weight.view(shape) * value
        total = term if total is None else total + term
    assert total is not None
    return total


def towards_own(number: int, own: float) -> Tensor:
    """A ``(number, number)`` matrix with rows that sum to one, ``own`` of it on the diagonal.

    Raises:
        ValueError: If ``own`` is no share.
    """
    checks.number("own", own, least=0, most=1)
    if number == 1:
        return torch.ones(1, 1)
    rest = (1 - own) / (number - 1)
    return torch.full((number, number), rest).fill_diagonal_(own)
