"""Restrained uncertainty weighting: learnable variances whose sum is held near a constant."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import Parameter

from moml._support import checks
from moml.weighting._base import LossWeighting
from moml.weighting._preference import rows

_SMALLEST = 1e-3  # of |alpha|: weights stay finite when it crosses zero


class RRUW(LossWeighting):
    r"""Weights from learnable uncertainties that a restraint keeps from vanishing.

    Song et al., `Dynamic Restrained Uncertainty Weighting Loss for Multitask Learning of Vocal
    Expression <https://arxiv.org/abs/2206.11049>`_, 2022, the restrained revised loss:
    :math:`\sum_i L_i / (K \alpha_i^2) + \sum_i \log(1 + \alpha_i^2) + |\varphi - \sum_i
    |\alpha_i||`. Without the last term :math:`\alpha_i^2` goes to :math:`(L_i/K + \sqrt{(L_i/K)^2 +
    4 L_i/K})/2`; the restraint caps the weights of tasks that are nearly solved. For losses that
    grow large it has no effect.

    Args:
        restraint: :math:`\varphi`; 1 as in the authors' code.

    LibMTL, TorchJD: none.
    """

    traits = frozenset({"permutation", "scale_invariant", "linear_under_scaling"})
    paper = "Song et al., Dynamic Restrained Uncertainty Weighting Loss, ICML ExVo 2022"
    alphas: Parameter

    def __init__(self, *, restraint: float = 1.0) -> None:
        super().__init__()
        self.restraint = checks.number("restraint", restraint, least=0.0)

    def _allocate(self, num_tasks: int) -> None:
        self.alphas = Parameter(torch.full((num_tasks,), 1.0 / num_tasks))

    def weights(self, losses: Tensor, *, tasks: Tensor | None = None) -> Tensor:
        """Inverse squares over the number of tasks, ``(m,)``."""
        return self._weights(tasks).detach()

    def penalty(self, losses: Tensor, *, tasks: Tensor | None = None) -> Tensor:
        """The objective as a function of the uncertainties; the restraint counts all tasks."""
        losses, alphas = losses.detach().double(), rows(self.alphas.double(), tasks)
        total = self.alphas.double().abs().sum()
        fit = (self._weights(tasks) * losses).sum() + torch.log1p(alphas.square()).sum()
        return fit + (self.restraint - total).abs()

    def _weights(self, tasks: Tensor | None) -> Tensor:
        self._check_bound()
        alphas = rows(self.alphas.double(), tasks)
        # Below the bound only the restraint has a derivative: it leads away from zero.
        return 1.0 / (len(self.names) * alphas.square().clamp_min(_SMALLEST**2))
