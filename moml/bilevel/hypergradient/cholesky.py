"""Implicit differentiation with the whole Hessian."""

from __future__ import annotations

import torch
from torch import Tensor

from moml._support import checks
from moml.bilevel.hypergradient._base import Certificate, LowerSolution
from moml.bilevel.hypergradient._implicit import (
    Hessian,
    Implicit,
    OnInvalid,
    relative_residual,
)

_LARGEST = 4096


class Cholesky(Implicit):
    """The Hessian formed and factorised once for all objectives: few lower variables only.

    Time grows with the cube of their number p and memory with its square; refused above 4096. Exact
    at a lower optimum with a positive definite Hessian; elsewhere the system is solved by LU and
    the certificate says that the curvature is not positive.

    Args:
        damping: Added to the Hessian's diagonal.
        tolerance: See `Implicit`.
        absolute_tolerance: See `Implicit`.
        residual_tolerance: See `Implicit`.
        on_invalid: See `Implicit`.
    """

    def __init__(
        self,
        *,
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
        checks.number("damping", damping, least=0)
        self.damping = damping

    def _systems(
        self, hessian: Hessian, right: Tensor, solution: LowerSolution
    ) -> tuple[Tensor, Certificate]:
        p = hessian.size
        if p > _LARGEST:
            raise ValueError(
                f"`theta` should hold at most {_LARGEST} numbers with Cholesky, found {p}. "
                "Use BlockConjugateGradient."
            )
        unit = torch.eye(p, dtype=right.dtype, device=right.device)
        matrix = hessian(unit.expand(hessian.blocks, p, p))  # (E, p, p)
        plain = (matrix + matrix.mT) / 2
        matrix = plain + self.damping * unit
        factor, failed = torch.linalg.cholesky_ex(matrix)
        bent = bool(failed.any())
        x = (
            torch.linalg.solve_ex(matrix, right.mT)[0].mT
            if bent
            else torch.cholesky_solve(right.mT, factor).mT
        )
        return x, Certificate(0.0, relative_residual(right - x @ plain, right), bent)
