"""Settings of the iterative solvers that build a Krylov space."""

from __future__ import annotations

from moml._support import checks
from moml.bilevel.hypergradient._implicit import Implicit, OnInvalid


class Krylov(Implicit):
    """Implicit differentiation by a bounded number of rounds of Hessian-vector products.

    Args:
        rounds: Largest number of Hessian-vector products.
        linear_tolerance: Relative residual at which to stop.
        damping: Added to the Hessian's diagonal.
        tolerance: See `Implicit`.
        absolute_tolerance: See `Implicit`.
        residual_tolerance: See `Implicit`.
        on_invalid: See `Implicit`.
    """

    def __init__(
        self,
        rounds: int = 20,
        *,
        linear_tolerance: float = 1e-10,
        damping: float = 0.0,
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
        checks.whole("rounds", rounds, least=1)
        checks.number("damping", damping, least=0)
        checks.number("linear_tolerance", linear_tolerance, least=0)
        self.rounds, self.linear_tolerance, self.damping = rounds, linear_tolerance, damping
