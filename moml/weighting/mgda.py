"""Multiple-gradient descent algorithm: the minimum-norm point of the gradients' convex hull."""

from __future__ import annotations

from typing import Literal, get_args

from torch import Tensor

from moml._support import checks
from moml.weighting._base import GramianWeighting
from moml.weighting._gramian import checked, solve_each
from moml.weighting._min_norm import frank_wolfe_weights, min_norm_weights
from moml.weighting._normalization import Normalization, gradient_factors

Solver = Literal["exact", "frank_wolfe"]


class MGDA(GramianWeighting):
    r"""Weights of the shortest vector between all gradients: a direction no task loses by.

    :math:`w = \arg\min_{w \in \Delta} \|\sum_i w_i g_i\|^2`.

    Désidéri, `Multiple-gradient descent algorithm (MGDA)
    <https://doi.org/10.1016/j.crma.2012.03.014>`_, 2012; for networks Sener & Koltun, `Multi-Task
    Learning as Multi-Objective Optimization <https://arxiv.org/abs/1810.04650>`_, NeurIPS 2018.
    The direction d has :math:`g_i^\top d \ge \|d\|^2`: it vanishes exactly at Pareto-stationary
    points. It leans to the task with the smallest gradient, whose weight is often 1 and the others'
    0; `Normalization` lessens this. In training a task whose gradient is zero counts as absent; as
    a member of the hull, which it is for `weights` of a plain Gramian, it would stop all others.

    Args:
        normalize: Scale each gradient by its norm (``l2``), its loss (``loss``), both (``loss+``)
            or not at all before the weights are computed. As in Sener & Koltun's code the weights,
            summing to 1, then apply to the *raw* losses, and the guarantee above holds for the
            scaled gradients only if they are what is applied: that is
            ``GradientNormalization(MGDA(), by=...)``, LibMTL's convention for parameter gradients.
        solver: ``exact``, or ``frank_wolfe`` (250 iterations at most) for fidelity to published
            runs; its direction increases some losses near Pareto-stationary points and for
            gradients of very different norms.

    LibMTL name: ``MGDA`` (``mgda_gn``; approximate solver); TorchJD: ``MGDA`` (Frank–Wolfe).
    """

    traits = frozenset({"simplex", "permutation", "scale_invariant", "non_conflicting", "descent"})
    paper = "Sener & Koltun, Multi-Task Learning as Multi-Objective Optimization, NeurIPS 2018"

    def __init__(self, *, normalize: Normalization = "none", solver: Solver = "exact") -> None:
        super().__init__()
        self.normalize = checks.choice("normalize", normalize, get_args(Normalization))
        self.solver = checks.choice("solver", solver, get_args(Solver))

    def weights(
        self, gramian: Tensor, losses: Tensor | None = None, *, tasks: Tensor | None = None
    ) -> Tensor:
        """Weights on the simplex, ``(*b, m)``."""
        gramian = checked(gramian)
        if self.normalize != "none":
            factors = gradient_factors(self.normalize, gramian=gramian, losses=losses)  # (*b, m)
            gramian = gramian * factors[..., None] * factors[..., None, :]
        solve = min_norm_weights if self.solver == "exact" else frank_wolfe_weights
        return solve_each(solve, gramian)
