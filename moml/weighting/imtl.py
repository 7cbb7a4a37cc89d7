"""Impartial multi-task learning: equal projections, equal losses, or both."""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
import torch
from torch import Tensor
from torch.nn import Parameter

from moml._support import checks
from moml.gradients.task_gradients import Evaluation
from moml.weighting._base import GramianWeighting, Needs
from moml.weighting._gramian import Array, checked, correlation, solve_each
from moml.weighting._preference import rows
from moml.weighting._rank import shares_of

Mode = Literal["gradient", "loss", "hybrid"]

_SMALLEST_SUM = 1e-2  # of the weights, relative to the sum of their sizes


class IMTL(GramianWeighting):
    r"""Weights of the direction with equal projections on all unit gradients, and loss scaling.

    Liu et al., `Towards Impartial Multi-task Learning
    <https://openreview.net/forum?id=IMPnRXEWpvr>`_, ICLR 2021. IMTL-G: :math:`\sum_i w_i = 1` with
    :math:`d^\top g_i / \|g_i\|` equal for all tasks. IMTL-L: learnable scales :math:`s_i`, loss
    :math:`\sum_i e^{s_i} L_i - s_i`, so that scaled losses become 1. The hybrid scales the losses
    by IMTL-L and combines the shared gradients by IMTL-G.

    Weights may be negative. Where they sum to zero or less, dividing by the sum as the paper does
    gives an infinite step or one that *increases* every loss; the sum counts as at least 1 % of
    the sizes' sum here. It stops wherever zero lies in the affine hull of the unit gradients, as it
    does for two opposite ones and for more tasks than parameters: weights are then those of zero.

    Args:
        mode: ``gradient`` (IMTL-G), ``loss`` (IMTL-L, costs as much as `EW`) or ``hybrid``.
        scaled_heads: In the hybrid heads get their scaled loss's gradient, :math:`e^{s_i} \nabla
            L_i`, as in the paper; that of their whole weight (or what the oracle's ``heads`` says)
            unless set.

    LibMTL name: ``IMTL`` (hybrid only); TorchJD: ``IMTLG``, ``IMTLL``.
    """

    traits = frozenset({"permutation", "scale_invariant", "non_conflicting"})
    paper = "Liu et al., Towards Impartial Multi-task Learning, ICLR 2021"
    log_scales: Parameter

    def __init__(self, *, mode: Mode = "gradient", scaled_heads: bool = False) -> None:
        super().__init__()
        self.mode = checks.choice("mode", mode, get_args(Mode))
        self.scaled_heads = checks.flag("scaled_heads", scaled_heads)
        if scaled_heads and mode != "hybrid":
            raise ValueError(
                f"`scaled_heads` should be set for mode 'hybrid' only, found mode {mode!r}."
            )

    @property
    def needs(self) -> Needs:  # type: ignore[override]
        """Losses only for IMTL-L."""
        return "losses" if self.mode == "loss" else "gramian"

    def _allocate(self, num_tasks: int) -> None:
        if self.mode != "gradient":
            self.log_scales = Parameter(torch.zeros(num_tasks))

    def weights(
        self, gramian: Tensor, losses: Tensor | None = None, *, tasks: Tensor | None = None
    ) -> Tensor:
        """IMTL-G's weights times the scales, ``(*b, m)``."""
        scales = self._scales(gramian.shape[-1], tasks)
        if self.mode == "loss":
            return scales.expand(gramian.shape[:-1])
        return scales * solve_each(_impartial, checked(gramian) * scales.outer(scales))

    def update(self, evaluation: Evaluation) -> Tensor:
        """Apply; IMTL-L never touches the Gramian."""
        if self.mode == "loss":
            weights = self._scales(len(evaluation.names), evaluation.tasks)
            evaluation.apply(weights)
            return weights
        if not self.scaled_heads:
            return super().update(evaluation)
        weights = self._live_weights(evaluation)
        beyond = self._scales(len(weights), evaluation.tasks) - 1.0
        evaluation.apply(beyond, heads="weighted")  # on heads: what is beyond their own gradient
        evaluation.apply(weights - beyond, heads="unit")
        return weights

    def penalty(self, losses: Tensor, *, tasks: Tensor | None = None) -> Tensor | None:
        """Scaled losses minus logarithms of the scales; ``None`` for IMTL-G."""
        if self.mode == "gradient":
            return None
        self._check_bound()
        own = rows(self.log_scales.double(), tasks)
        return (own.exp() * losses.detach().double() - own).sum()

    def _scales(self, m: int, tasks: Tensor | None) -> Tensor:
        if self.mode == "gradient":
            return torch.ones(m, dtype=torch.float64)
        self._check_bound()
        return rows(self.log_scales.detach().double(), tasks).exp()


def _impartial(gramian: Array) -> Array:  # (m, m) -> (m,)
    """Weights of equal projections; zero gradients get weight 0."""
    weights = np.zeros(len(gramian))
    live = np.diagonal(gramian) > 0.0
    if not live.any():
        return np.full(len(gramian), 1.0 / len(gramian))
    norms = np.sqrt(np.diagonal(gramian)[live])
    cosines = correlation(gramian[np.ix_(live, live)], norms)
    # In terms of b = w * norms: C b = const, and C b = 0 with sum(b) > 0 where that is possible.
    found = shares_of(cosines, np.ones(len(cosines)))
    shares = found.cancelling if found.cancelling.any() else found.reached
    relative = shares / (norms / norms.min())
    total = max(float(relative.sum()), _SMALLEST_SUM * float(np.abs(relative).sum()))
    if total > 0.0:
        weights[live] = relative / total
    return weights
