"""Geometric loss strategy: the geometric mean of the losses."""

from __future__ import annotations

from torch import Tensor

from moml.weighting._base import LossWeighting


class GLS(LossWeighting):
    r"""Weights that make the update the gradient of the geometric mean of the losses.

    Chennupati et al., `MultiNet++: Multi-Stream Feature Aggregation and Geometric Loss Strategy for
    Multi-Task Learning <https://arxiv.org/abs/1904.08492>`_, CVPR Workshops 2019. The objective
    :math:`F = (\prod_i L_i)^{1/K}` has the derivative :math:`F / (K L_i)` with respect to a loss,
    computed in logarithms: no underflow with many small losses. Multiplying one loss by a constant
    changes all weights by a common factor and no trade-off. A loss near zero takes over the update;
    a loss of zero or below has no geometric mean and is an error.

    LibMTL name: ``GLS``; TorchJD: ``GeometricMean``.
    """

    traits = frozenset({"permutation", "scale_invariant", "linear_under_scaling"})
    paper = "Chennupati et al., MultiNet++, CVPR Workshops 2019"

    def weights(self, losses: Tensor, *, tasks: Tensor | None = None) -> Tensor:
        """Derivatives of the geometric mean, ``(m,)``.

        Raises:
            ValueError: If a loss is not positive.
        """
        losses = losses.detach().double()
        bad = ~(losses > 0.0)
        if bad.any():
            raise ValueError(
                f"`losses` should be positive for GLS, found {losses[bad].tolist()} for task(s) "
                f"{self._labels(bad, tasks)}. A geometric mean needs losses above zero."
            )
        logs = losses.log()
        return (logs.mean() - logs).exp() / len(losses)
