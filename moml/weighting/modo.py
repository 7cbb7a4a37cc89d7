"""Multi-objective gradient with double sampling: unbiased weights from independent batches."""

from __future__ import annotations

import torch
from torch import Tensor

from moml._support import checks
from moml.gradients.task_gradients import Evaluation
from moml.weighting._base import Needs, Weighting, nothing_shared
from moml.weighting._cross import finite_products
from moml.weighting._simplex import project_onto_simplex


class MoDo(Weighting):
    r"""Weights that move towards `MGDA`'s by products of two independent batches' gradients.

    Chen, Fernando, Ying & Chen, `Three-Way Trade-Off in Multi-Objective Learning: Optimization,
    Generalization and Conflict-Avoidance <https://arxiv.org/abs/2305.20057>`_, NeurIPS 2023:
    :math:`\lambda \leftarrow \Pi_\Delta(\lambda - \gamma (G_1 G_2^\top + \rho I) \lambda)` with the
    gradients of two batches, applied to a third one. Within one batch the products would be biased
    by the gradients' noise. Two further batches are drawn from the training stream, where there is
    one; running statistics and metrics see the step's own batch only. Its own batch needs one
    backward pass, the further ones a pass per task each. Tasks that are absent from the further
    batches, or have no gradient there, keep their share. Where nothing is shared no batch is drawn,
    and heads get their own loss's gradient.

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
        self.gamma = checks.number("gamma", gamma, least=0.0)
        self.rho = checks.number("rho", rho, least=0.0)

    def _allocate(self, num_tasks: int) -> None:
        shares = torch.full((num_tasks,), 1.0 / num_tasks, dtype=torch.float64)
        self.register_buffer("shares", shares)

    def update(self, evaluation: Evaluation) -> Tensor:
        """Move the weights by two further batches, and apply them to this one.

        Raises:
            NonFiniteError: If a gradient of a further batch is not finite.
        """
        self._check_bound()
        idle = nothing_shared(evaluation)
        if not idle:
            self._move(evaluation.draw(1), evaluation.draw(2))
        weights = self.shares[evaluation.tasks]
        total = weights.sum()
        weights = weights / total if total > 0.0 else torch.full_like(weights, 1.0 / len(weights))
        evaluation.apply(weights, heads="unit" if idle else None)
        return weights

    def _move(self, first: Evaluation, second: Evaluation) -> None:
        products = finite_products(first, second)
        live = products.any(1)
        tasks = first.tasks[live]
        shares = self.shares[tasks]
        total = shares.sum()
        if not total > 0.0:
            return
        gradient = products[live] @ self.shares[second.tasks] + self.rho * shares
        moved = (shares - self.gamma * gradient) / total
        self.shares[tasks] = total * project_onto_simplex(moved)
