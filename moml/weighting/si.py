"""Scale-invariant scalarization: the sum of the losses' logarithms."""

from __future__ import annotations

from torch import Tensor

from moml.weighting._base import LossWeighting
from moml.weighting._positive import inverse, nonnegative_losses


class SI(LossWeighting):
    r"""Weights that make the update the gradient of the sum of the losses' logarithms.

    :math:`w_i = 1/L_i`, the baseline "scale-invariant" of Navon et al., `Multi-Task Learning as a
    Bargaining Game <https://arxiv.org/abs/2202.01017>`_, ICML 2022: multiplying a loss by a
    constant changes nothing. As a scaling inside a combination it gives the log-scaled variant of
    any method: ``Scaled(MGDA(), scaling=SI())`` is log-MGDA, ``Scaled(CAGrad(), scaling=SI())``
    log-CAGrad. A loss near zero takes over the update; a loss of zero, whose gradient is zero too,
    has weight 0 and leaves the others alone; a negative one is an error.

    LibMTL, TorchJD: none.
    """

    traits = frozenset({"permutation", "scale_invariant", "linear_under_scaling"})
    paper = "Navon et al., Multi-Task Learning as a Bargaining Game, ICML 2022"

    def weights(self, losses: Tensor, *, tasks: Tensor | None = None) -> Tensor:
        """Inverse losses, 0 for a loss of zero, ``(m,)``.

        Raises:
            ValueError: If a loss is negative.
        """
        return inverse(nonnegative_losses(self, losses, tasks=tasks))
