"""Dual balancing: logarithms of losses, and smoothed gradients of equal norm."""

from __future__ import annotations

import torch
from torch import Tensor

from moml._support import checks
from moml.gradients.task_gradients import Evaluation
from moml.weighting._base import JacobianAggregator
from moml.weighting._memory import Memory
from moml.weighting._positive import inverse, nonnegative_losses


class DBMTL(JacobianAggregator):
    r"""The sum of all tasks' smoothed log-loss gradients, stretched to the norm of the longest.

    Lin et al., `Dual-Balancing for Multi-Task Learning <https://arxiv.org/abs/2308.12029>`_, 2023:
    :math:`\hat g_i \leftarrow \beta_t \hat g_i + (1 - \beta_t) \nabla \log L_i`, :math:`\beta_t =
    \beta / t^{\sigma}`, direction :math:`\max_j \|\hat g_j\| \sum_i \hat g_i / \|\hat g_i\|`. Keeps
    one gradient per task in memory and in checkpoints. A loss of zero has no logarithm, and its
    gradient is zero: it counts as absent, and its task's memory does not move; a negative one is an
    error. Summing unit vectors does not keep tasks from losing: with three or more tasks the
    direction may conflict.

    Args:
        beta: Smoothing; 0.9 as LibMTL.
        sigma: Its decay.
        log_heads: Heads get the gradient of their loss's logarithm, as in the paper; that of their
            own loss, as for all methods without weights, unless set.

    LibMTL name: ``DB_MTL``; TorchJD: none.
    """

    traits = frozenset({"permutation", "scale_invariant"})
    paper = "Lin et al., Dual-Balancing for Multi-Task Learning, 2023"

    def __init__(self, *, beta: float = 0.9, sigma: float = 0.0, log_heads: bool = False) -> None:
        super().__init__()
        self.beta = checks.number("beta", beta, least=0.0, below=1.0)
        self.sigma = checks.number("sigma", sigma, least=0.0)
        self.log_heads = checks.flag("log_heads", log_heads)

    def _allocate(self, num_tasks: int) -> None:
        self.smoothed = Memory(num_tasks)

    def direction(
        self, jacobian: Tensor, losses: Tensor | None = None, *, tasks: Tensor | None = None
    ) -> Tensor:
        """Sum of smoothed gradients on the longest one's scale, ``(n,)``.

        Raises:
            ValueError: If losses are missing or negative.
        """
        self._check_bound()
        if losses is None:
            raise ValueError("`losses` should be given to DBMTL, found None. It takes logarithms.")
        present = torch.arange(len(self.names)) if tasks is None else tasks
        factors = inverse(nonnegative_losses(self, losses, tasks=present))
        live = factors > 0.0
        if not live.any():
            return jacobian.new_zeros(jacobian.shape[1])
        logs = jacobian * factors.to(jacobian)[:, None]  # gradients of the logarithms
        if not live.all():
            logs, present = logs[live.to(logs.device)], present[live]
        smoothed = self.smoothed.update(logs, present, self._smooth)
        norms = smoothed.norm(dim=1)
        factors = norms.max() / norms.where(norms > 0.0, 1.0)
        return factors @ smoothed

    def update(self, evaluation: Evaluation) -> None:
        """Apply the direction; heads get their own loss's gradient, or its logarithm's."""
        if not self.log_heads:
            super().update(evaluation)
            return
        direction, rows = self._live_direction(evaluation), evaluation.jacobian
        losses = nonnegative_losses(self, evaluation.losses, tasks=evaluation.tasks)
        beyond = inverse(losses) - 1.0  # what heads get beyond their own gradient
        evaluation.apply(beyond, heads="weighted")
        evaluation.assign(direction - beyond.to(rows) @ rows)

    def _smooth(self, old: Tensor, new: Tensor, count: Tensor) -> Tensor:
        beta = self.beta / count**self.sigma
        return beta * old + (1.0 - beta) * new
