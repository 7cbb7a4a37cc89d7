"""Weights smoothed over steps."""

from __future__ import annotations

import torch
from torch import Tensor

from moml._support import checks
from moml.gradients.task_gradients import Evaluation
from moml.weighting._base import Weighting
from moml.weighting._capture import Capture
from moml.weighting.wrappers._base import Wrapper


class CRMOGM(Wrapper):
    r"""Applies a running mean of a method's weights.

    Zhou et al., `On the Convergence of Stochastic Multi-Objective Gradient Manipulation and Beyond
    <https://openreview.net/forum?id=ScwfQ7hdwyP>`_, NeurIPS 2022: :math:`\lambda_t = \alpha
    \lambda_{t-1} + (1 - \alpha) \hat\lambda_t`. Weights computed from a batch are biased by its
    noise; smoothed ones are not in the limit. An absent task's weight is kept.

    Args:
        weighting: The method whose weights are smoothed.
        alpha: Share of the past; 0 changes nothing.
    """

    means: Tensor
    known: Tensor

    def __init__(self, weighting: Weighting, *, alpha: float = 0.9) -> None:
        super().__init__(weighting)
        self.alpha = checks.number("alpha", alpha, least=0.0, below=1.0)

    def _allocate(self, num_tasks: int) -> None:
        super()._allocate(num_tasks)
        self.register_buffer("means", torch.zeros(num_tasks, dtype=torch.float64))
        self.register_buffer("known", torch.zeros(num_tasks, dtype=torch.bool))

    def update(self, evaluation: Evaluation) -> Tensor:
        """Smooth the method's weights and apply them."""
        self._check_bound()
        tasks = evaluation.tasks
        step = Capture.of(self.weighting, evaluation)
        mixed = self.alpha * self.means[tasks] + (1.0 - self.alpha) * step.weights()
        self.means[tasks] = torch.where(self.known[tasks], mixed, step.weights())
        self.known[tasks] = True
        weights = self.means[tasks]
        evaluation.apply(weights, heads=step.heads)
        return weights
