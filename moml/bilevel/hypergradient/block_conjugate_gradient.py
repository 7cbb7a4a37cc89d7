"""Implicit differentiation by block conjugate gradients: objectives help each other."""

from __future__ import annotations

import torch
from torch import Tensor

from moml.bilevel.hypergradient._base import Certificate, LowerSolution
from moml.bilevel.hypergradient._implicit import Hessian, relative_residual
from moml.bilevel.hypergradient._krylov import Krylov


class BlockConjugateGradient(Krylov):
    r"""Implicit differentiation with one Krylov space for all objectives.

    O'Leary, `The block conjugate gradient algorithm and related methods
    <https://doi.org/10.1016/0024-3795(80)90247-5>`_, 1980, with the residuals kept orthonormal
    (Dubrulle, `Retooling the method of block conjugate gradients
    <https://etna.math.kent.edu/vol.12.2001/pp216-233.dir/pp216-233.html>`_, 2001), so that
    dependent objectives are no obstacle. Each round is one batched product, and about K times fewer
    rounds are needed than by `ConjugateGradient`: with K objectives the default.

    Arguments as `Krylov`.
    """

    def _systems(
        self, hessian: Hessian, right: Tensor, solution: LowerSolution
    ) -> tuple[Tensor, Certificate]:
        scale = right.norm(dim=-1, keepdim=True)
        scale = torch.where(scale > 0, scale, torch.ones_like(scale))
        q, rho = torch.linalg.qr((right / scale).mT)  # (E, p, K), (E, K, K): residual = q @ rho
        x, p = torch.zeros_like(q), q
        stopped = torch.zeros(len(q), dtype=torch.bool, device=q.device)  # met negative curvature
        unit = torch.eye(rho.shape[-1], dtype=q.dtype, device=q.device).expand_as(rho)
        for _ in range(self.rounds):
            unsolved = rho.norm(dim=-2).amax(dim=-1) > self.linear_tolerance  # (E,)
            if not bool((unsolved & ~stopped).any()):
                break
            hp = hessian(p.mT).mT + self.damping * p  # (E, p, K)
            factor, failed = torch.linalg.cholesky_ex(p.mT @ hp)
            stopped |= unsolved & (failed > 0)
            moves = (unsolved & ~stopped)[:, None, None]
            inverse = torch.where(moves, torch.cholesky_solve(unit, factor), 0.0)
            x = x + p @ (inverse @ rho)
            q, zeta = torch.linalg.qr(q - hp @ inverse)
            p, rho = q + p @ zeta.mT, zeta @ rho
        left = relative_residual((q @ rho + self.damping * x).mT, right / scale)
        return x.mT * scale, Certificate(0.0, left, bool(stopped.any()))
