"""Equal weighting, also called unitary scalarization or linear scalarization with unit weights."""

from __future__ import annotations

import torch
from torch import Tensor

from moml.weighting._base import LossWeighting


class EW(LossWeighting):
    """Weight 1 for every task: the sum of the losses is minimised.

    The baseline that, tuned and selected on validation data, is hard to beat (Kurin et al., `In
    Defense of the Unitary Scalarization for Deep Multi-Task Learning
    <https://arxiv.org/abs/2201.04122>`_, NeurIPS 2022). LibMTL name: ``EW``.
    """

    traits = frozenset({"permutation", "scale_invariant", "linear_under_scaling"})
    paper = "Kurin et al., In Defense of the Unitary Scalarization, NeurIPS 2022"

    def weights(self, losses: Tensor, *, tasks: Tensor | None = None) -> Tensor:
        """All ones, ``(m,)``."""
        return torch.ones_like(losses, dtype=torch.float64)
