"""Uncertainty weighting: a learnable variance per task."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import Parameter

from moml._support import checks
from moml.gradients.task_gradients import accumulate
from moml.weighting._base import LossWeighting


class UW(LossWeighting):
    r"""Weights from a learnable uncertainty per task.

    :math:`w_i = 1 / (2 e^{s_i})` with the log-variance :math:`s_i`.

    Kendall, Gal & Cipolla, `Multi-Task Learning Using Uncertainty to Weigh Losses for Scene
    Geometry and Semantics <https://arxiv.org/abs/1705.07115>`_, CVPR 2018. The objective is
    :math:`\sum_i L_i / (2 e^{s_i}) + s_i / 2`: `weights` are its derivatives with respect to the
    losses, `penalty` is the same expression as a function of :math:`s` alone, so that both together
    give its full gradient. At the optimum :math:`e^{s_i} = L_i`: large losses get small weights, so
    with losses of very different size it equals log-scaling after the variances have adapted, which
    takes many steps at usual learning rates. A loss that is negative, or stays at zero, drives its
    variance to zero.

    Args:
        init: Initial log-variances; -0.5 as LibMTL and MTAN's code (weight 0.82), 0 gives 1/2.

    LibMTL name: ``UW``; TorchJD: ``UW`` (starts at 0).
    """

    traits = frozenset({"permutation", "scale_invariant", "linear_under_scaling"})
    paper = "Kendall et al., Multi-Task Learning Using Uncertainty to Weigh Losses, CVPR 2018"
    log_variances: Parameter

    def __init__(self, *, init: float = -0.5) -> None:
        super().__init__()
        self.init = checks.number("init", init)

    def _allocate(self, num_tasks: int) -> None:
        # In float64, as losses are: casts and their gradients cost a fiftieth of a small step.
        start = torch.full((num_tasks,), float(self.init), dtype=torch.float64)
        self.log_variances = Parameter(start)

    def weights(self, losses: Tensor, *, tasks: Tensor | None = None) -> Tensor:
        """Half the inverse variances, ``(m,)``."""
        return torch.exp(-self._present(tasks).detach()) / 2

    def penalty(self, losses: Tensor, *, tasks: Tensor | None = None) -> Tensor:
        """Losses over twice their variance plus half the log-variance, of the tasks present."""
        log_variances = self._present(tasks)
        return (torch.exp(-log_variances) * losses.to(log_variances) + log_variances).sum() / 2

    def learn(self, losses: Tensor, *, tasks: Tensor | None = None) -> None:
        """The penalty's gradient in closed form: half of one minus the scaled loss."""
        gradient = 0.5 - self.weights(losses, tasks=tasks) * losses.to(self.log_variances)
        if tasks is not None and len(tasks) < len(self.names):
            whole = torch.zeros_like(self.log_variances)
            gradient = whole.index_copy(0, tasks, gradient)
        accumulate(self.log_variances, gradient)

    def _present(self, tasks: Tensor | None) -> Tensor:
        self._check_bound()
        log_variances = self.log_variances
        everyone = tasks is None or len(tasks) == len(self.names)  # spares an indexed gradient
        return log_variances if everyone else log_variances[tasks]
