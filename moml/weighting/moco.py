"""Multi-objective gradient with correction: minimum-norm weights of smoothed gradients."""

from __future__ import annotations

import torch
from torch import Tensor

from moml._support import checks
from moml.weighting._base import JacobianAggregator
from moml.weighting._memory import Memory
from moml.weighting._simplex import project_onto_simplex


class MoCo(JacobianAggregator):
    r"""The combination of gradients tracked over steps, with weights that move towards `MGDA`'s.

    Fernando et al., `Mitigating Gradient Bias in Multi-objective Learning: A Provably Convergent
    Stochastic Approach <https://arxiv.org/abs/2210.12624>`_, ICLR 2023. Weights computed from a
    batch's gradients are biased; here :math:`y_i \leftarrow y_i - \beta_t (y_i - g_i)` tracks every
    gradient and :math:`\lambda \leftarrow \Pi_\Delta(\lambda - \gamma_t (Y Y^\top + \rho I)
    \lambda)`, :math:`\beta_t = \beta / t^{\sigma_\beta}`, :math:`\gamma_t = \gamma /
    t^{\sigma_\gamma}`; the direction is :math:`Y^\top \lambda`. Keeps one gradient per task in
    memory and in checkpoints. The step of :math:`\lambda` depends on the gradients' scale:
    ``GradientNormalization(MoCo())`` does away with that.

    Args:
        beta: Speed of tracking; 0.5 as LibMTL.
        beta_sigma: Its decay; 0.5 as LibMTL.
        gamma: Step size of the weights; 0.1 as LibMTL.
        gamma_sigma: Its decay; 0.5 as LibMTL.
        rho: Pull towards equal weights.

    LibMTL name: ``MoCo`` (normalises gradients to their losses, softmax for the projection);
    TorchJD: none.
    """

    traits = frozenset({"permutation"})
    paper = "Fernando et al., Mitigating Gradient Bias in Multi-objective Learning, ICLR 2023"
    shares: Tensor
    steps: Tensor

    def __init__(
        self,
        *,
        beta: float = 0.5,
        beta_sigma: float = 0.5,
        gamma: float = 0.1,
        gamma_sigma: float = 0.5,
        rho: float = 0.0,
    ) -> None:
        super().__init__()
        self.beta = checks.number("beta", beta, above=0.0, most=1.0)
        self.beta_sigma = checks.number("beta_sigma", beta_sigma)
        self.gamma = checks.number("gamma", gamma, least=0.0)
        self.gamma_sigma = checks.number("gamma_sigma", gamma_sigma)
        self.rho = checks.number("rho", rho, least=0.0)

    def _allocate(self, num_tasks: int) -> None:
        shares = torch.full((num_tasks,), 1.0 / num_tasks, dtype=torch.float64)
        self.register_buffer("shares", shares)
        self.register_buffer("steps", torch.zeros((), dtype=torch.long))
        self.tracked = Memory(num_tasks)

    def direction(
        self, jacobian: Tensor, losses: Tensor | None = None, *, tasks: Tensor | None = None
    ) -> Tensor:
        """Weighted sum of the tracked gradients of the tasks present, ``(n,)``.

        Shares are relative to those of the tasks present.
        """
        self._check_bound()
        present = torch.arange(len(self.names)) if tasks is None else tasks
        tracked = self.tracked.update(jacobian, present, self._track)
        self.steps += 1
        gramian = (tracked.double() @ tracked.double().T).cpu()
        shares = self.shares[present]
        speed = self.gamma / float(self.steps) ** self.gamma_sigma
        total = shares.sum().clamp_min(1e-12)
        shares = shares - speed * (gramian @ shares + self.rho * shares)
        weights = project_onto_simplex(shares / total)
        self.shares[present] = total * weights
        return weights.to(tracked) @ tracked

    def _track(self, old: Tensor, new: Tensor, count: Tensor) -> Tensor:
        return old - self.beta / count**self.beta_sigma * (old - new)
