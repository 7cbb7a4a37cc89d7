"""FORUM's weights: the best joint direction under the lower level's constraint."""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor

from moml.bilevel._constrained_min_norm import constrained_min_norm_weights
from moml.bilevel._joint import JointRows
from moml.gradients.task_gradients import Evaluation
from moml.weighting import Weighting

Dual = Literal["exact", "authors"]


class ConstrainedMGDA(Weighting):
    r"""MGDA that knows of the value function's constraint.

    The direction in which the worst objective gains most while the constraint falls,
    :math:`\min_\delta \max_k \langle \nabla F_k, \delta \rangle + \tfrac12 \|\delta\|^2` subject to
    :math:`\langle \nabla q, \delta \rangle \le -\rho \|\nabla q\|^2`, has the weights

    .. math:: \lambda^* = \arg\min_{\lambda \in \Delta} \|\textstyle\sum_k \lambda_k \nabla F_k +
       \nu(\lambda) \nabla q\|^2 - 2 \nu(\lambda) \rho \|\nabla q\|^2,

    exactly solved (`moml.bilevel.ValueFunction` says what :math:`\nu` and :math:`q` are), then
    smoothed: :math:`\lambda \leftarrow (1 - \beta) \lambda + \beta \lambda^*` with :math:`\beta =
    (e + 1)^{-3/4}` in epoch e. Ye, Zhang et al., `FORUM <https://arxiv.org/abs/2401.09257>`_, ECAI
    2024, where a general solver is called in every step.

    Args:
        dual: ``exact``, or ``authors``: their code has 1 for the 2, which helps the worst objective
            less.
        normalize: Divide the objectives' gradients by their norms first, as the released code does.
    """

    needs = "gramian"
    paper = "Ye et al., A First-Order Multi-Gradient Algorithm for MOBLO (FORUM), ECAI 2024"

    def __init__(self, *, normalize: bool = True, dual: Dual = "exact") -> None:
        super().__init__()
        if dual not in get_args(Dual):
            raise ValueError(f"`dual` should be 'exact' or 'authors', found {dual!r}.")
        self.normalize, self.dual = normalize, dual

    def _allocate(self, num_tasks: int) -> None:
        self.register_buffer("smoothed", torch.zeros(num_tasks, dtype=torch.float64))

    smoothed: Tensor

    def update(self, evaluation: Evaluation) -> Tensor:
        """Apply the smoothed weights; return those of the gradients as they are."""
        if not isinstance(evaluation, JointRows):
            raise ValueError(
                "`weighting` should be ConstrainedMGDA only over `Bilevel(…, ValueFunction(…))`, "
                f"found {type(evaluation).__name__}. Use MGDA."
            )
        self._check_bound()
        gramian = evaluation.gramian
        norms = gramian.diagonal().clamp_min(0.0).sqrt()
        factors = torch.where(norms > 0, 1.0 / norms.clamp_min(1e-300), 1.0)  # (m,)
        if not self.normalize:
            factors = torch.ones_like(norms)
        best = constrained_min_norm_weights(
            (gramian * factors.outer(factors)).numpy(),
            (evaluation.slopes * factors).numpy(),
            evaluation.steepness,
            evaluation.rho,
            linear=2.0 if self.dual == "exact" else 1.0,
        )
        weights = self._smooth(torch.from_numpy(best), evaluation) * factors
        evaluation.apply(weights)
        return weights

    def _smooth(self, best: Tensor, evaluation: Evaluation) -> Tensor:
        """Moving average over steps; tasks that are absent keep theirs."""
        old, share = self.smoothed[evaluation.tasks], (evaluation.epoch + 1) ** -0.75
        total = float(old.sum())
        new = best if total == 0.0 else (1.0 - share) * old / total + share * best
        self.smoothed[evaluation.tasks] = new * (total or 1.0)
        return new
