"""Gradient normalization: weights learnt so that all tasks train at the same rate."""

from __future__ import annotations

import torch
from torch import Tensor

from moml._support import checks
from moml.gradients.task_gradients import Evaluation
from moml.weighting._adam import TaskwiseAdam
from moml.weighting._base import GramianWeighting
from moml.weighting._gramian import single
from moml.weighting._preference import rows


class GradNorm(GramianWeighting):
    r"""Weights learnt to bring each weighted gradient's norm to a size that follows its progress.

    Chen et al., `GradNorm: Gradient Normalization for Adaptive Loss Balancing in Deep Multitask
    Networks <https://arxiv.org/abs/1711.02257>`_, ICML 2018. With :math:`G_i = w_i \|g_i\|`, their
    mean :math:`\bar G` and the relative rate :math:`r_i` of task i (its loss over its first loss,
    divided by the mean of that over tasks), weights descend on :math:`\sum_i |G_i - \bar G
    r_i^\alpha|` with the target held fixed, and are rescaled to sum to the number of tasks.

    Weights take their own Adam steps here, not the network's optimizer, so the learning rate
    schedule of one does not move the other. The first *step's* loss is the reference, as in the
    paper (LibMTL: the first epoch's mean). Norms are of all shared parameters; the paper takes the
    last shared layer.

    Args:
        alpha: Strength of the pull to a common rate; 1.5 as in the paper and LibMTL.
        lr: Step size of the weights.

    LibMTL name: ``GradNorm``; TorchJD: none.
    """

    traits = frozenset({"permutation", "scale_invariant", "linear_under_scaling"})
    paper = "Chen et al., GradNorm, ICML 2018"
    shares: Tensor
    first: Tensor
    unit: Tensor

    def __init__(self, *, alpha: float = 1.5, lr: float = 0.025) -> None:
        super().__init__()
        self.alpha = checks.number("alpha", alpha, least=0.0)
        self.lr = checks.number("lr", lr, above=0.0)

    def _allocate(self, num_tasks: int) -> None:
        self.register_buffer("shares", torch.ones(num_tasks, dtype=torch.float64))
        self.register_buffer("first", torch.full((num_tasks,), torch.nan, dtype=torch.float64))
        self.register_buffer("unit", torch.full((), torch.nan, dtype=torch.float64))
        self.adam = TaskwiseAdam(num_tasks, lr=self.lr)

    def weights(
        self, gramian: Tensor, losses: Tensor | None = None, *, tasks: Tensor | None = None
    ) -> Tensor:
        """The weights as learnt so far, summing to the number of tasks present, ``(m,)``."""
        self._check_bound()
        single(gramian, "GradNorm")
        shares = rows(self.shares, tasks)
        return shares * (len(shares) / shares.sum())

    def update(self, evaluation: Evaluation) -> Tensor:
        """Apply, then learn from this step's norms; a zero gradient's weight is its usual one."""
        weights = self.weights(evaluation.gramian, tasks=evaluation.tasks)
        evaluation.apply(weights)
        self._learn(weights, evaluation)
        return weights

    def _learn(self, weights: Tensor, evaluation: Evaluation) -> None:
        tasks, losses = evaluation.tasks, evaluation.losses
        self.first[tasks] = torch.where(self.first[tasks].isnan(), losses, self.first[tasks])
        progress = losses / torch.where(self.first[tasks] > 0.0, self.first[tasks], 1.0)
        rates = (progress / progress.mean().clamp_min(1e-300)).clamp_min(0.0)  # (m,) r_i
        norms = evaluation.gramian.diagonal().clamp_min(0.0).sqrt()
        if self.unit.isnan() and bool((norms > 0.0).any()):
            self.unit.fill_(norms.max())
        norms = norms / self.unit.nan_to_num(nan=1.0)  # Adam is blind to a factor that stays
        sizes = weights * norms  # (m,) G_i
        gradient = (sizes - sizes.mean() * rates**self.alpha).sign() * norms
        total = self.shares[tasks].sum()
        moved = (self.shares[tasks] - self.adam.step(gradient, tasks)).clamp_min(1e-6)
        self.shares[tasks] = moved * (total / moved.sum())
