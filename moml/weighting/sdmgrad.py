"""Stochastic direction-oriented gradient: near a preferred average, by independent batches."""

from __future__ import annotations

import torch
from torch import Tensor

from moml._support import checks
from moml.gradients.task_gradients import Evaluation
from moml.weighting._base import Needs, Weighting, nothing_shared
from moml.weighting._cross import finite_products
from moml.weighting._preference import Preference, given_per_task, preference_of
from moml.weighting._simplex import project_onto_simplex


class SDMGrad(Weighting):
    r"""Weights of the shortest combination that a preferred average is added to.

    Xiao, Ban & Ji, `Direction-oriented Multi-objective Learning: Simple and Provable Stochastic
    Algorithms <https://arxiv.org/abs/2305.18409>`_, NeurIPS 2023: :math:`\min_{w \in \Delta}
    \|\sum_i (w_i + \lambda r_i) g_i\|^2`, direction :math:`\sum_i (w_i + \lambda r_i) g_i / (1 +
    \lambda)`. The weights go on from the last step by a few projected gradient steps on the
    products of two independent batches' gradients, divided by the squared mean of the norms,
    :math:`(\tfrac1K \sum_i \max((G_1 G_2^\top)_{ii}, 0)^{1/2})^2`: in products of two batches noise
    does not count as length. Where all of the diagonal is noise weights rest. A third batch is what
    they are applied to, as for `MoDo`; absent tasks and nothing shared are as there. For large
    :math:`\lambda` it is the average, for 0 it approaches `MGDA`, but for the bias of a quotient of
    two noisy numbers.

    Args:
        pull: :math:`\lambda`; 0.3 as LibMTL.
        iterations: Gradient steps of the weights per training step.
        lr: Their size; 10 as the authors on images (5 in LibMTL).
        momentum: Their momentum.
        preference: r; equal unless given.

    LibMTL name: ``SDMGrad``; TorchJD: ``SDMGrad`` (one batch for all three).
    """

    needs: Needs = "gramian"  # type: ignore[misc]
    traits = frozenset({"simplex", "permutation", "scale_invariant"})
    paper = "Xiao et al., Direction-oriented Multi-objective Learning, NeurIPS 2023"
    shares: Tensor
    preference: Tensor

    def __init__(
        self,
        *,
        pull: float = 0.3,
        iterations: int = 20,
        lr: float = 10.0,
        momentum: float = 0.5,
        preference: Preference = None,
    ) -> None:
        super().__init__()
        self.pull = checks.number("pull", pull, least=0.0)
        self.iterations = checks.whole("iterations", iterations, least=1)
        self.lr = checks.number("lr", lr, above=0.0)
        self.momentum = checks.number("momentum", momentum, least=0.0, below=1.0)
        self.given = given_per_task(preference, argument="preference")

    def _allocate(self, num_tasks: int) -> None:
        shares = torch.full((num_tasks,), 1.0 / num_tasks, dtype=torch.float64)
        self.register_buffer("shares", shares)
        preference = preference_of(self.given, self.names)
        self.register_buffer("preference", preference, persistent=False)

    def update(self, evaluation: Evaluation) -> Tensor:
        """Move the weights by two further batches, and apply them to this one.

        Raises:
            NonFiniteError: If a gradient of a further batch is not finite.
        """
        self._check_bound()
        idle = nothing_shared(evaluation)
        if not idle:
            self._descend(evaluation.draw(1), evaluation.draw(2))
        weights = self.shares[evaluation.tasks] + self.pull * self.preference[evaluation.tasks]
        total = weights.sum()
        weights = weights / total if total > 0.0 else torch.full_like(weights, 1.0 / len(weights))
        evaluation.apply(weights, heads="unit" if idle else None)
        return weights

    def _descend(self, first: Evaluation, second: Evaluation) -> None:
        products = finite_products(first, second)  # (m, m')
        squares = products[first.tasks[:, None] == second.tasks]  # of tasks in both
        scale = squares.clamp_min(0.0).sqrt().mean().square()
        live = products.any(1)
        tasks = first.tasks[live]
        total = self.shares[tasks].sum()
        if not scale > 0.0 or not total > 0.0:
            return
        velocity = torch.zeros(len(tasks), dtype=torch.float64)
        for _ in range(self.iterations):
            pulled = self.shares + self.pull * self.preference
            gradient = products[live] @ pulled[second.tasks] / scale
            velocity = self.momentum * velocity + gradient
            moved = (self.shares[tasks] - self.lr * velocity) / total
            self.shares[tasks] = total * project_onto_simplex(moved)
