"""Distance between directions."""

from __future__ import annotations

import torch
from torch import Tensor

from moml.losses._base import EntrywiseLoss, _not_finite, aligned


class CosineDistance(EntrywiseLoss):
    """One minus the cosine between vectors along dimension 1, such as normals ``(B, 3, H, W)``.

    A zero target vector is undefined. Every component is looked at: a defined normal may well have
    components that sum to zero.
    """

    def entries(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Cosine distance of every vector, ``(B, ...)`` without dimension 1."""
        prediction, defined = aligned(prediction, target), self.weights(target)
        target = target.to(prediction.dtype)
        squares = (prediction**2).sum(1) * (target**2).sum(1)  # (B, ...)
        cosine = (prediction * target).sum(1) * squares.clamp(min=1e-12).rsqrt()
        return torch.where(defined, 1 - cosine, 0)

    def weights(self, target: Tensor) -> Tensor:
        """Which vectors are not zero."""
        return (target != 0).any(1)

    def check(self, target: Tensor) -> str | None:
        """Vectors should have finite components along dimension 1."""
        if target.dim() < 2:
            return f"vectors along dimension 1, found shape {tuple(target.shape)}"
        return _not_finite(target)
