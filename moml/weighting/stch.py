"""Smooth Tchebycheff scalarization: a smooth version of the worst weighted loss."""

from __future__ import annotations

import torch
from torch import Tensor

from moml._support import checks
from moml.gradients.task_gradients import Evaluation
from moml.weighting._base import LossWeighting
from moml.weighting._positive import inverse, nonnegative_losses
from moml.weighting._preference import (
    Preference,
    given_per_task,
    per_task,
    preference_of,
    present_preference,
    rows,
)


class STCH(LossWeighting):
    r"""Weights of the gradient of the smooth maximum of preference-weighted losses.

    Lin et al., `Smooth Tchebycheff Scalarization for Multi-Objective Optimization
    <https://arxiv.org/abs/2402.19078>`_, ICML 2024: :math:`\mu \log \sum_i
    \exp(\lambda_i (L_i - z_i) / \mu)` with preference :math:`\lambda` and ideal point z. For small
    :math:`\mu` every point of the Pareto front is the minimiser for some preference, whatever the
    front's shape; gradients change fast there.

    With ``warmup`` epochs, the form of the paper's multi-task experiments, made for losses of
    unknown scale: first the sum of logarithms is minimised; then, with the mean losses
    :math:`n_i` of the last warm-up epoch, :math:`K \mu \log \sum_i (L_i / n_i)^{1/\mu}`. In this
    form a loss of zero, whose gradient is zero too, has weight 0 and leaves the others alone, a
    mean of zero counts as 1, and a negative loss is an error; without warm-up any loss will do.

    Args:
        mu: Smoothness.
        preference: Larger means the task's loss should be smaller; equal unless given.
        ideal: Smallest conceivable losses z; zero unless given.
        warmup: Epochs before scales are known; 0 uses the formula above. LibMTL and the authors'
            code count from 0 and warm up in epoch ``STCH_warmup_epoch`` too: their 4 is 5 here.

    LibMTL name: ``STCH`` (with warm-up); TorchJD: ``STCH`` (without).
    """

    traits = frozenset({"permutation", "scale_invariant", "linear_under_scaling"})
    paper = "Lin et al., Smooth Tchebycheff Scalarization, ICML 2024"
    preference_is = "importance"
    preference: Tensor
    ideal: Tensor
    sums: Tensor
    counts: Tensor

    def __init__(
        self,
        *,
        mu: float = 1.0,
        preference: Preference = None,
        ideal: Preference = None,
        warmup: int = 0,
    ) -> None:
        super().__init__()
        self.mu = checks.number("mu", mu, above=0.0)
        self.given = given_per_task(preference, argument="preference")
        self.given_ideal = given_per_task(ideal, argument="ideal")
        self.warmup = checks.whole("warmup", warmup, least=0, unit="epochs")

    def _allocate(self, num_tasks: int) -> None:
        ideal = per_task(self.given_ideal, self.names, argument="ideal", default=0.0)
        preference = preference_of(self.given, self.names)
        self.register_buffer("preference", preference, persistent=False)
        self.register_buffer("ideal", ideal, persistent=False)
        self.register_buffer("sums", torch.zeros(num_tasks, dtype=torch.float64))
        self.register_buffer("counts", torch.zeros(num_tasks, dtype=torch.long))

    def weights(self, losses: Tensor, *, tasks: Tensor | None = None) -> Tensor:
        """Derivatives of the smooth maximum, without warm-up, ``(m,)``."""
        self._check_bound()
        preference = present_preference(self.preference, len(losses), tasks=tasks)
        height = preference * (losses.detach().double() - rows(self.ideal, tasks))
        return preference * (height / self.mu).softmax(0)

    def update(self, evaluation: Evaluation) -> Tensor:
        """Apply; during the warm-up, the gradient of the sum of logarithms."""
        if self.warmup == 0:
            return super().update(evaluation)
        self._check_bound()
        tasks = evaluation.tasks
        losses = nonnegative_losses(self, evaluation.losses, tasks=tasks)
        weights = inverse(losses)
        if evaluation.epoch >= self.warmup and losses.any():
            means = self.sums / self.counts.clamp_min(1)
            scale = torch.where(means > 0.0, means, 1.0)[tasks]  # (m,) n_i
            weights = len(tasks) * ((losses / scale).log() / self.mu).softmax(0) * weights
        elif evaluation.epoch == self.warmup - 1:
            self.sums[tasks] += losses
            self.counts[tasks] += 1
        evaluation.apply(weights)
        return weights
