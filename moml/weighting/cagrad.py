"""Conflict-averse gradient descent: near the average gradient, best for the worst task."""

from __future__ import annotations

from typing import Literal

from torch import Tensor

from moml._support import checks
from moml.weighting._base import GramianWeighting
from moml.weighting._cagrad import cagrad_weights
from moml.weighting._gramian import solve_each


class CAGrad(GramianWeighting):
    r"""Weights of the direction within a ball around the average that helps the worst task most.

    Liu et al., `Conflict-Averse Gradient Descent for Multi-task Learning
    <https://arxiv.org/abs/2110.14048>`_, NeurIPS 2021:
    :math:`\max_d \min_i g_i^\top d` subject to :math:`\|d - g_0\| \le c \|g_0\|`. With c = 0 it is
    the average, with :math:`c < 1` it converges to a stationary point of the average loss, for
    large c it approaches `MGDA`. Where the average gradient vanishes so does the update, Pareto
    stationary or not. Solved exactly at every scale.

    Args:
        c: Radius of the ball relative to the average gradient; 0.4 as in the paper's experiments
            on vision (LibMTL: 0.5).
        rescale: Divide the direction by 1 (``0``), :math:`1 + c^2` (``1``, as the authors) or
            :math:`1 + c` (``2``).

    LibMTL name: ``CAGrad`` (``calpha``; its solver returns the average for small or large
    gradients); TorchJD: ``CAGrad`` (no rescaling; zero update for small gradients).
    """

    traits = frozenset({"permutation", "scale_invariant"})
    paper = "Liu et al., Conflict-Averse Gradient Descent for Multi-task Learning, NeurIPS 2021"

    def __init__(self, *, c: float = 0.4, rescale: Literal[0, 1, 2] = 1) -> None:
        super().__init__()
        self.c = checks.number("c", c, least=0.0)
        self.rescale = checks.choice("rescale", rescale, (0, 1, 2))

    def weights(
        self, gramian: Tensor, losses: Tensor | None = None, *, tasks: Tensor | None = None
    ) -> Tensor:
        """1/m each plus the correction, over the rescaling, ``(*b, m)``."""
        divisor = (1.0, 1.0 + self.c**2, 1.0 + self.c)[self.rescale]
        return solve_each(cagrad_weights, gramian, c=self.c) / divisor
