"""Fast adaptive multitask optimization: all losses fall at the same rate, at the price of one."""

from __future__ import annotations

import torch
from torch import Tensor

from moml._support import checks
from moml.gradients.task_gradients import Evaluation
from moml.weighting._adam import TaskwiseAdam
from moml.weighting._base import LossWeighting
from moml.weighting._positive import nonnegative_losses
from moml.weighting._preference import Preference, given_per_task, per_task, rows


class FAMO(LossWeighting):
    r"""Weights that are learned so that all logarithms of losses fall equally fast.

    Liu, Feng, Stone & Liu, `FAMO: Fast Adaptive Multitask Optimization
    <https://arxiv.org/abs/2306.03792>`_, NeurIPS 2023. With :math:`z = \mathrm{softmax}(\xi)` the
    step is that of :math:`c \sum_i z_i \log L_i`, where c makes the weights a convex combination:
    :math:`w_i = c\, z_i / L_i`. Then :math:`\xi` takes an Adam step with the gradient
    :math:`\partial z / \partial \xi` times the decrease of every :math:`\log L_i`.

    The decrease is measured by the *next* batch's loss, which is computed anyway: no second forward
    pass, where the authors evaluate the same batch twice. Over independent batches both have the
    same mean; the next batch adds the noise of sampling.

    A loss at its lower bound (a hinge at zero) has no logarithm, and its gradient is zero: it is
    left out of the combination, which would follow it alone, and its decrease is not measured. A
    loss below its bound is an error.

    Args:
        lr: Step size for the logits; 0.025 as the authors.
        decay: Weight decay of the logits; 1e-3 as in the paper.
        min_losses: Smallest conceivable losses, in order or by name, subtracted before the
            logarithm; zero unless given.

    LibMTL name: ``FAMO``; TorchJD: ``FAMO`` (both evaluate twice).
    """

    traits = frozenset({"simplex", "permutation", "scale_invariant", "linear_under_scaling"})
    paper = "Liu et al., FAMO: Fast Adaptive Multitask Optimization, NeurIPS 2023"
    logits: Tensor
    previous: Tensor
    floor: Tensor

    def __init__(
        self, *, lr: float = 0.025, decay: float = 1e-3, min_losses: Preference = None
    ) -> None:
        super().__init__()
        self.lr = checks.number("lr", lr, above=0.0)
        self.decay = checks.number("decay", decay, least=0.0)
        self.given = given_per_task(min_losses, argument="min_losses")

    def _allocate(self, num_tasks: int) -> None:
        floor = per_task(self.given, self.names, argument="min_losses", default=0.0)
        self.register_buffer("floor", floor, persistent=False)
        self.register_buffer("logits", torch.zeros(num_tasks, dtype=torch.float64))
        # logarithms of the losses when last present; not a number before that
        self.register_buffer("previous", torch.full((num_tasks,), torch.nan, dtype=torch.float64))
        self.adam = TaskwiseAdam(num_tasks, lr=self.lr)

    def weights(self, losses: Tensor, *, tasks: Tensor | None = None) -> Tensor:
        """Shares over losses above their bounds, on the simplex, ``(m,)``.

        Raises:
            ValueError: If a loss is below its bound.
        """
        self._check_bound()
        logs = self._logs(losses, tasks)
        live = logs > -torch.inf
        if not live.any():
            return torch.full_like(logs, 1.0 / len(logs))
        scores = rows(self.logits, tasks) - logs.where(live, torch.inf)
        return scores.softmax(0)

    def update(self, evaluation: Evaluation) -> Tensor:
        """Learn from the losses' decrease since the last step, then apply."""
        self._check_bound()
        tasks = evaluation.tasks
        logs = self._logs(evaluation.losses, tasks)
        live = logs > -torch.inf
        known = live & ~self.previous[tasks].isnan()
        if known.any():
            self._learn(self.previous[tasks][known] - logs[known], tasks[known])
        self.previous[tasks] = logs.where(live, torch.nan)
        return super().update(evaluation)

    def _logs(self, losses: Tensor, tasks: Tensor | None) -> Tensor:
        floor = None if self.given is None else rows(self.floor, tasks)
        return nonnegative_losses(self, losses, tasks=tasks, floor=floor).log()

    def _learn(self, decrease: Tensor, tasks: Tensor) -> None:
        shares = self.logits[tasks].softmax(0)
        gradient = shares * (decrease - shares @ decrease) + self.decay * self.logits[tasks]
        self.logits[tasks] -= self.adam.step(gradient, tasks)
