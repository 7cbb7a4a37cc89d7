"""Multi-objective gradient with double sampling: unbiased weights from independent batches."""

from __future__ import annotations

import torch
from torch import Tensor

from moml.evaluation import Evaluation
from moml.weighting._base import Needs, Weighting
from moml.weighting._simplex import project_onto_simplex


class MoDo(Weighting):
    r"""Weights that move towards `MGDA`'s by products of two independent batches' gradients.

    Chen, Fernando, Ying & Chen, `Three-Way Trade-Off in Multi-Objective Learning: Optimization,
    Generalization and Conflict-Avoidance <https://arxiv.org/abs/2305.20057>`_, NeurIPS 2023:
    :math:`\lambda \leftarrow \Pi_\Delta(\lambda - \gamma (G_1 G_2^\top + \rho I) \lambda)` with the
    gradients of two batches, applied to a third one. Within one batch the products would be biased
    by the gradients' noise. Two further batches are drawn from the training stream, where there is
    one; running statistics and metrics see the step's own batch only. Its own batch needs one
    backward pass, the further ones a pass per task each.

    Args:
        gamma: Step size of the weights; 1e-3 as LibMTL. Its effect depends on the gradients' scale.
        rho: Pull towards equal weights; 0.1 as LibMTL.

    LibMTL name: ``MoDo``; TorchJD: ``MoDo`` (one batch for all three).
    """

    needs: Needs = "gramian"  # type: ignore[misc]
    traits = frozenset({"simplex", "permutation"})
    paper = "Chen et al., Three-Way Trade-Off in Multi-Objective Learning, NeurIPS 2023"
    shares: Tensor

    def __init__(self, *, gamma: float = 1e-3, rho: float = 0.1) -> None:
        super().__init__()
        if gamma < 0.0:
            raise ValueError(f"`gamma` should not be negative, found {gamma}.")
        if rho < 0.0:
            raise ValueError(f"`rho` should not be negative, found {rho}.")
        self.gamma, self.rho = gamma, rho

    def _allocate(self, num_tasks: int) -> None:
        shares = torch.full((num_tasks,), 1.0 / num_tasks, dtype=torch.float64)
        self.register_buffer("shares", shares)

    def update(self, evaluation: Evaluation) -> Tensor:
        """Move the weights by two further batches, and apply them to this one."""
        self._check_bound()
        first, second = evaluation.draw(1), evaluation.draw(2)
        gradient = self.rho * self.shares
        gradient[first.tasks] += first.cross(second) @ self.shares[second.tasks]
        self.shares = project_onto_simplex(self.shares - self.gamma * gradient)
        weights = self.shares[evaluation.tasks]
        weights = weights / weights.sum() if weights.sum() > 0.0 else weights
        evaluation.apply(weights)
        return weights
