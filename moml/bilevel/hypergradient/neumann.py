"""Implicit differentiation by a Neumann series."""

from __future__ import annotations

from torch import Tensor

from moml._support import checks
from moml.bilevel.hypergradient._base import Certificate, LowerSolution
from moml.bilevel.hypergradient._implicit import (
    Hessian,
    Implicit,
    OnInvalid,
    relative_residual,
)
from moml.bilevel.inner import UpdateRule

_ROUNDING = 1e-5


class Neumann(Implicit):
    r"""The inverse Hessian as :math:`\alpha \sum_{i<k} (I - \alpha H)^i`.

    Lorraine, Vicol & Duvenaud, `Optimizing Millions of Hyperparameters by Implicit Differentiation
    <https://arxiv.org/abs/1911.02590>`_, AISTATS 2020. At a lower optimum it equals `Truncated`
    with k steps of gradient descent at rate :math:`\alpha`. Converges slowly, geometrically with
    the condition number, and only if :math:`\alpha` is below twice the inverse of the largest
    eigenvalue; biased towards directions of high curvature, which regularises.

    Args:
        terms: Number k of terms; ``terms - 1`` Hessian-vector products.
        rate: The factor :math:`\alpha`; the lower solver's learning rate unless given.
        tolerance: See `Implicit`.
        absolute_tolerance: See `Implicit`.
        residual_tolerance: See `Implicit`.
        on_invalid: See `Implicit`.
    """

    def __init__(
        self,
        terms: int = 10,
        *,
        rate: float | None = None,
        tolerance: float = 0.05,
        absolute_tolerance: float = 1e-6,
        residual_tolerance: float = 0.05,
        on_invalid: OnInvalid = "warn",
    ) -> None:
        super().__init__(
            tolerance=tolerance,
            absolute_tolerance=absolute_tolerance,
            residual_tolerance=residual_tolerance,
            on_invalid=on_invalid,
        )
        checks.whole("terms", terms, least=1)
        if rate is not None:
            checks.number("rate", rate, above=0)
        self.terms, self.rate = terms, rate

    def _systems(
        self, hessian: Hessian, right: Tensor, solution: LowerSolution
    ) -> tuple[Tensor, Certificate]:
        rate = self.rate
        if rate is None:
            rate = solution.trace.lr if isinstance(solution.trace, UpdateRule) else None
        if rate is None:
            raise ValueError(
                "`rate` should be given to Neumann where the lower solver has no learning rate of "
                f"its own, found {type(solution.trace).__name__}."
            )
        term, total, negative = right, right.clone(), False
        for _ in range(self.terms - 1):
            product = hessian(term)
            lengths = term.norm(dim=-1) * product.norm(dim=-1)
            curvature = (term * product).sum(-1)  # (E, K)
            negative |= bool((curvature < -_ROUNDING * lengths).any())
            term = term - rate * product
            total = total + term
        # |v - H q| is that of the next term, one product more; this one bounds it if they shrink.
        left = relative_residual(term, right)
        return rate * total, Certificate(0.0, left, negative)
