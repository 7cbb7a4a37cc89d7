"""Dynamic weight average: tasks whose loss falls slowly get more weight."""

from __future__ import annotations

import torch
from torch import Tensor

from moml._support import checks
from moml.gradients.task_gradients import Evaluation
from moml.weighting._base import LossWeighting


class DWA(LossWeighting):
    r"""Weights from each loss's relative rate of descent between epochs.

    Liu, Johns & Davison, `End-to-End Multi-Task Learning with Attention
    <https://arxiv.org/abs/1803.10704>`_, CVPR 2019. With :math:`r_i = L_i(t-1) / L_i(t-2)`, the
    ratio of the mean losses of the last two epochs, weights are
    :math:`K\,\mathrm{softmax}(r / T)`; 1 in the first two epochs.

    An absent task moves no history, and a task without two epochs of its own counts as
    :math:`r_i = 1`. Ratios of losses that change sign mean nothing. State is in buffers.

    Args:
        temperature: T; the larger, the more even the weights.
        window: Length of an "epoch" in steps; ``None`` takes the epochs of the evaluation, which
            only a training loop counts.

    LibMTL name: ``DWA``; TorchJD: ``DWA`` (the user ends epochs by hand).
    """

    traits = frozenset({"permutation", "scale_invariant", "linear_under_scaling"})
    paper = "Liu et al., End-to-End Multi-Task Learning with Attention, CVPR 2019"
    sums: Tensor
    counts: Tensor
    means: Tensor
    finished: Tensor
    epoch: Tensor

    def __init__(self, *, temperature: float = 2.0, window: int | None = None) -> None:
        super().__init__()
        self.temperature = checks.number("temperature", temperature, above=0.0)
        self.window = None if window is None else checks.whole("window", window, least=1)

    def _allocate(self, num_tasks: int) -> None:
        self.register_buffer("sums", torch.zeros(num_tasks, dtype=torch.float64))
        self.register_buffer("counts", torch.zeros(num_tasks, dtype=torch.long))
        self.register_buffer("means", torch.ones(2, num_tasks, dtype=torch.float64))  # t-1, t-2
        self.register_buffer("finished", torch.zeros(num_tasks, dtype=torch.long))  # epochs
        self.register_buffer("epoch", torch.zeros((), dtype=torch.long))  # steps, with a window

    def weights(self, losses: Tensor, *, tasks: Tensor | None = None) -> Tensor:
        """Softmax of the ratios times the number of tasks present, ``(m,)``."""
        self._check_bound()
        last, before = self.means
        known = (self.finished >= 2) & (before != 0.0)
        ratios = torch.where(known, last / torch.where(known, before, 1.0), 1.0)  # (K,)
        present = ratios if tasks is None else ratios[tasks]
        return len(present) * (present / self.temperature).softmax(0)

    def update(self, evaluation: Evaluation) -> Tensor:
        """Finish the epoch if a new one began, apply, and add the losses to the epoch's mean."""
        self._check_bound()
        if self.window is None and evaluation.epoch != self.epoch:
            self._finish_epoch()
            self.epoch.fill_(evaluation.epoch)
        weights = self.weights(evaluation.losses, tasks=evaluation.tasks)
        evaluation.apply(weights)
        self.sums.index_add_(0, evaluation.tasks, evaluation.losses)
        self.counts.index_add_(0, evaluation.tasks, torch.ones_like(evaluation.tasks))
        if self.window is not None:
            self.epoch += 1
            if int(self.epoch) % self.window == 0:
                self._finish_epoch()
        return weights

    def _finish_epoch(self) -> None:
        seen = self.counts > 0
        mean = self.sums / self.counts.clamp_min(1)
        self.means[:, seen] = torch.stack([mean, self.means[0]])[:, seen]
        self.finished += seen
        self.sums.zero_()
        self.counts.zero_()
