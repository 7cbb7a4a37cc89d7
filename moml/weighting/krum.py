"""Krum: the gradient that has the nearest neighbours."""

from __future__ import annotations

import torch
from torch import Tensor

from moml._support import checks
from moml.weighting._base import GramianWeighting
from moml.weighting._gramian import checked


class Krum(GramianWeighting):
    r"""Weights that keep the gradients nearest to the others, and drop outliers.

    Blanchard, El Mhamdi, Guerraoui & Stainer, `Machine Learning with Adversaries: Byzantine
    Tolerant Gradient Descent <https://arxiv.org/abs/1703.02757>`_, NeurIPS 2017. A gradient's score
    is the sum of *squared* distances to its m - f - 2 nearest others; the best ``selected`` are
    averaged (Multi-Krum). Made for machines that should send the same gradient; for tasks it is a
    robust choice of a typical one. Equal scores go to the first. With fewer than f + 3 tasks the
    paper's guarantee is void and one neighbour counts.

    Args:
        byzantine: f, how many gradients may be anything.
        selected: How many are averaged; at most those present.

    LibMTL: none; TorchJD: ``Krum`` (sums distances, not their squares).
    """

    traits = frozenset({"simplex", "scale_invariant"})
    paper = "Blanchard et al., Machine Learning with Adversaries, NeurIPS 2017"

    def __init__(self, *, byzantine: int = 1, selected: int = 1) -> None:
        super().__init__()
        self.byzantine = checks.whole("byzantine", byzantine, least=0)
        self.selected = checks.whole("selected", selected, least=1)

    def weights(
        self, gramian: Tensor, losses: Tensor | None = None, *, tasks: Tensor | None = None
    ) -> Tensor:
        """Equal weights for those selected, zero for the others, ``(*b, m)``."""
        gramian = checked(gramian)
        m = gramian.shape[-1]
        squares = gramian.diagonal(dim1=-2, dim2=-1)
        distances = squares[..., None, :] + squares[..., :, None] - 2.0 * gramian
        distances = distances.clamp_min(0.0)
        distances.diagonal(dim1=-2, dim2=-1).zero_()
        neighbours = min(max(m - self.byzantine - 2, 1), m - 1)
        scores = distances.sort(dim=-1).values[..., 1 : neighbours + 1].sum(-1)  # (*b, m)
        count = min(self.selected, m)
        best = scores.sort(dim=-1, stable=True).indices[..., :count]
        weights = torch.zeros(squares.shape, dtype=torch.float64)
        return weights.scatter(-1, best, 1.0 / count)
