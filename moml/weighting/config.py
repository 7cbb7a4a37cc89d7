"""ConFIG: equal cosines with all gradients, and a length that sums their projections."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from moml.weighting._base import GramianWeighting
from moml.weighting._gramian import Array, checked, correlation, solve_each
from moml.weighting._preference import Preference, given_per_task, preference_of, rows
from moml.weighting._rank import shares_of


class ConFIG(GramianWeighting):
    r"""Weights of the direction that has the same cosine with every gradient.

    Liu, Chu & Thuerey, `ConFIG: Towards Conflict-free Training of Physics Informed Neural Networks
    <https://arxiv.org/abs/2408.11104>`_, ICLR 2025. With unit gradients as rows of U the unit
    direction u is that of :math:`U^+ 1`, its length :math:`\sum_i g_i^\top u`. The authors invert
    an m by n matrix; since :math:`U^+ = U^\top (U U^\top)^+` the Gramian is enough.

    It does not conflict as long as the gradients are linearly independent; where they are not, as
    with more tasks than parameters or duplicates that disagree with others, the cosines are equal
    in the sense of least squares only, and where unit gradients cancel so that no direction has
    any (two pairs of opposite ones) the update is zero. It follows `IMTL`'s direction, with another
    length.

    Args:
        preference: Cosines are proportional to it; equal unless given.

    LibMTL: none; TorchJD: ``ConFIG``.
    """

    traits = frozenset({"permutation", "scale_invariant"})
    paper = "Liu et al., ConFIG: Towards Conflict-free Training of PINNs, ICLR 2025"
    preference: Tensor

    def __init__(self, *, preference: Preference = None) -> None:
        super().__init__()
        self.given = given_per_task(preference, argument="preference")

    def _allocate(self, num_tasks: int) -> None:
        preference = preference_of(self.given, self.names)
        self.register_buffer("preference", preference, persistent=False)

    def weights(
        self, gramian: Tensor, losses: Tensor | None = None, *, tasks: Tensor | None = None
    ) -> Tensor:
        """Weights of the direction, ``(*b, m)``."""
        aim = torch.ones(gramian.shape[-1], dtype=torch.float64)
        if self.given is not None:
            self._check_bound()
            aim = rows(self.preference, tasks)
        return solve_each(_equal_cosines, checked(gramian), aim=aim.numpy())


def _equal_cosines(gramian: Array, *, aim: Array) -> Array:
    weights = np.zeros(len(gramian))
    live = np.diagonal(gramian) > 0.0
    if not live.any():
        return weights
    norms = np.sqrt(np.diagonal(gramian)[live])
    cosines = correlation(gramian[np.ix_(live, live)], norms)
    shares = shares_of(cosines, aim[live]).reached
    products = cosines @ shares
    square = float(shares @ products)
    if square > 0.0:
        weights[live] = shares * float(norms @ products) / square / norms
    return weights
