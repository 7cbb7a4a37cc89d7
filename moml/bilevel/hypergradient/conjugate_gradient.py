"""Implicit differentiation by conjugate gradients."""

from __future__ import annotations

import torch
from torch import Tensor

from moml.bilevel.hypergradient._base import Certificate, LowerSolution
from moml.bilevel.hypergradient._implicit import Hessian, relative_residual
from moml.bilevel.hypergradient._krylov import Krylov


class ConjugateGradient(Krylov):
    """Implicit differentiation, one system per objective, all in lock step.

    Pedregosa, `Hyperparameter optimization with approximate gradient
    <https://arxiv.org/abs/1602.02355>`_, ICML 2016; Rajeswaran et al., `Meta-Learning with Implicit
    Gradients <https://arxiv.org/abs/1909.04630>`_, NeurIPS 2019 (iMAML). Every round is one batched
    Hessian-vector product. Exact at a lower optimum with a positive definite Hessian after at most
    p rounds; meets negative curvature elsewhere and says so. Arguments as `Krylov`.
    """

    def _systems(
        self, hessian: Hessian, right: Tensor, solution: LowerSolution
    ) -> tuple[Tensor, Certificate]:
        x, r = torch.zeros_like(right), right.clone()
        p, old = r.clone(), (r * r).sum(-1)  # (E, K)
        goal = self.linear_tolerance**2 * old
        active, negative = old > goal, False
        for _ in range(self.rounds):
            if not active.any():
                break
            hp = hessian(p) + self.damping * p
            curvature = (p * hp).sum(-1)  # (E, K)
            negative |= bool((active & (curvature <= 0)).any())
            active &= curvature > 0
            alpha = torch.where(active, old / torch.where(active, curvature, 1.0), 0.0)[..., None]
            x, r = x + alpha * p, r - alpha * hp
            new = (r * r).sum(-1)
            beta = torch.where(active, new / torch.where(active, old, 1.0), 0.0)[..., None]
            p, old = r + beta * p, new
            active &= old > goal
        left = relative_residual(r + self.damping * x, right)
        return x, Certificate(0.0, left, negative)
