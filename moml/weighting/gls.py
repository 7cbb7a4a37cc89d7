"""Geometric loss strategy: the geometric mean of the losses."""

from __future__ import annotations

from torch import Tensor

from moml.weighting._base import LossWeighting
from moml.weighting._positive import nonnegative_losses


class GLS(LossWeighting):
    r"""Weights that make the update the gradient of the geometric mean of the losses.

    Chennupati et al., `MultiNet++: Multi-Stream Feature Aggregation and Geometric Loss Strategy for
    Multi-Task Learning <https://arxiv.org/abs/1904.08492>`_, CVPR Workshops 2019. The objective
    :math:`F = (\prod_i L_i)^{1/K}` has the derivative :math:`F / (K L_i)` with respect to a loss,
    computed in logarithms: no underflow with many small losses. Multiplying one loss by a constant
    changes all weights by a common factor and no trade-off. A loss near zero takes over the update.
    With a loss of zero the mean would be zero and so would every weight: it is left out, as if its
    task were absent (weight 0; its gradient is zero too). A negative loss is an error.

    LibMTL name: ``GLS``; TorchJD: ``GeometricMean``.
    """

    traits = frozenset({"permutation", "scale_invariant", "linear_under_scaling"})
    paper = "Chennupati et al., MultiNet++, CVPR Workshops 2019"

    def weights(self, losses: Tensor, *, tasks: Tensor | None = None) -> Tensor:
        """Derivatives of the geometric mean of the losses above zero, ``(m,)``.

        Raises:
            ValueError: If a loss is negative.
        """
        losses = nonnegative_losses(self, losses, tasks=tasks)
        live = losses > 0.0
        if not live.any():
            return losses  # zeros
        logs = losses.where(live, 1.0).log()
        return live * (logs[live].mean() - logs).exp() / live.sum()
