"""Gradient vaccine: gradients are turned towards each other until they are as alike as usual."""

from __future__ import annotations

import torch
from torch import Tensor

from moml.weighting._base import GramianWeighting, Randomized
from moml.weighting._gramian import single

_ROUNDING = 1e-9  # shortfall of a cosine that is no shortfall


class GradVac(Randomized, GramianWeighting):
    r"""Weights that turn each gradient towards the others, up to their usual similarity.

    Wang, Tsvetkov, Firat & Cao, `Gradient Vaccine: Investigating and Improving Multi-task
    Optimization in Massively Multilingual Models <https://arxiv.org/abs/2010.05874>`_, ICLR 2021.
    Where the cosine :math:`\varphi_{ij}` of a gradient with another is below its running mean
    :math:`\hat\varphi_{ij}`, the other is added until the cosine is that mean; with means of zero
    it is `PCGrad`. Others are met in random order. Only coefficients are computed.

    The whole model is one group, as for all methods here; per layer it is ``Grouped(GradVac())``.

    Args:
        beta: Speed of the running means; 0.5 as LibMTL (paper: 0.01).
        seed: Of the generator of the orders; PyTorch's global seed unless given.

    LibMTL name: ``GradVac``; TorchJD: ``GradVac``.
    """

    traits = frozenset({"scale_invariant", "linear_under_scaling"})
    paper = "Wang et al., Gradient Vaccine, ICLR 2021"
    targets: Tensor

    def __init__(self, *, beta: float = 0.5, seed: int | None = None) -> None:
        super().__init__(seed)
        if not 0.0 <= beta <= 1.0:
            raise ValueError(f"`beta` should be between 0 and 1, found {beta}.")
        self.beta = beta

    def _allocate(self, num_tasks: int) -> None:
        self.register_buffer("targets", torch.zeros(num_tasks, num_tasks, dtype=torch.float64))

    def weights(
        self, gramian: Tensor, losses: Tensor | None = None, *, tasks: Tensor | None = None
    ) -> Tensor:
        """Column sums of the turned gradients' coefficients, ``(m,)``."""
        self._check_bound()
        gramian = single(gramian, "GradVac")  # (m, m)
        m = len(gramian)
        present = torch.arange(len(self.names)) if tasks is None else tasks
        targets = self.targets[present[:, None], present]  # (m, m)
        norms = gramian.diagonal().clamp_min(0.0).sqrt()
        turned, products = torch.eye(m, dtype=torch.float64), gramian.clone()  # products: turned G
        orders = torch.rand(m, m, generator=self.generator, dtype=torch.float64).argsort()
        own = torch.arange(m)
        for other in orders.T:  # (m,): the gradient that each task meets now
            squares = (turned * products).sum(1)
            sizes = squares.clamp_min(0.0).sqrt()
            defined = (other != own) & (sizes > 0.0) & (norms[other] > 0.0)
            scale = torch.where(defined, sizes * norms[other], 1.0)
            cosine = torch.where(defined, products[own, other] / scale, 0.0).clamp(-1.0, 1.0)
            target = targets[own, other]
            added = torch.where(
                defined & (cosine < target - _ROUNDING),
                _multiple(cosine, target) * sizes / torch.where(defined, norms[other], 1.0),
                0.0,
            )
            turned[own, other] += added
            products = products + added[:, None] * gramian[other]
            targets[own, other] = torch.where(
                defined, (1.0 - self.beta) * target + self.beta * cosine, target
            )
        self.targets[present[:, None], present] = targets
        return turned.sum(0)


def _multiple(cosine: Tensor, target: Tensor) -> Tensor:
    """How much of a unit vector brings another's cosine with it to the target."""
    sine, aim = (1 - cosine**2).clamp_min(0.0).sqrt(), (1 - target**2).clamp_min(1e-18).sqrt()
    return (target * sine - cosine * aim) / aim
