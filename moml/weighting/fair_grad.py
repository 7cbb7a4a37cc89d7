"""Fair resource allocation: from the average over bargaining to the worst task, by one number."""

from __future__ import annotations

from torch import Tensor

from moml._support import checks
from moml.weighting._base import GramianWeighting
from moml.weighting._fair import fair_weights
from moml.weighting._gramian import solve_each


class FairGrad(GramianWeighting):
    r"""Weights of the direction whose gains are shared fairly, from the average to the worst task.

    Ban & Ji, `Fair Resource Allocation in Multi-Task Learning <https://arxiv.org/abs/2402.15638>`_,
    ICML 2024: :math:`G w = w^{-1/\alpha}`, the optimality condition for the :math:`\alpha`-fair
    utility :math:`\max_d \sum_i (g_i^\top d)^{1-\alpha} / (1-\alpha)` in a ball. :math:`\alpha = 1`
    is the equation of `NashMTL`, :math:`\alpha \to 0` is linear scalarization, large
    :math:`\alpha` helps the task that gains least. Every task gains, unless zero lies in the hull
    of the gradients, where there is no solution and a small ridge keeps weights finite.

    Solved by Newton's method on cosines; the authors' least squares drifts to equal weights for
    gradients far from norm 1.

    Args:
        alpha: Fairness, positive; 1 as LibMTL.

    LibMTL name: ``FairGrad``; TorchJD: ``FairGrad``.
    """

    traits = frozenset({"permutation", "scale_invariant", "descent", "task_scale_invariant"})
    paper = "Ban & Ji, Fair Resource Allocation in Multi-Task Learning, ICML 2024"

    def __init__(self, *, alpha: float = 1.0) -> None:
        super().__init__()
        self.alpha = checks.number("alpha", alpha, above=0.0)

    def weights(
        self, gramian: Tensor, losses: Tensor | None = None, *, tasks: Tensor | None = None
    ) -> Tensor:
        """The solution, ``(*b, m)``; a task without gradient has weight 0."""
        return solve_each(fair_weights, gramian, power=1.0 / self.alpha)
