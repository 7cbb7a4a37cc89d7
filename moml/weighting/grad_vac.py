"""Gradient vaccine: gradients are turned towards each other until they are as alike as usual."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from moml._support import checks
from moml.weighting._base import GramianWeighting, Randomized
from moml.weighting._gramian import Array, single

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
        self.beta = checks.number("beta", beta, least=0.0, most=1.0)

    def _allocate(self, num_tasks: int) -> None:
        self.register_buffer("targets", torch.zeros(num_tasks, num_tasks, dtype=torch.float64))

    def weights(
        self, gramian: Tensor, losses: Tensor | None = None, *, tasks: Tensor | None = None
    ) -> Tensor:
        """Column sums of the turned gradients' coefficients, ``(m,)``."""
        self._check_bound()
        gramian = single(gramian, "GradVac")  # (m, m)
        m = len(gramian)
        orders = torch.rand(m, m, generator=self.generator, dtype=torch.float64).argsort()
        present = torch.arange(len(self.names)) if tasks is None else tasks
        targets = self.targets[present[:, None], present].numpy()  # (m, m), a copy
        weights = _vaccinate(gramian.numpy(), orders.numpy().T, targets, beta=self.beta)
        self.targets[present[:, None], present] = torch.from_numpy(targets)
        return torch.from_numpy(weights)


def _vaccinate(gramian: Array, meetings: NDArray[np.intp], targets: Array, *, beta: float) -> Array:
    """Turn all gradients at once, one meeting after the other; moves the targets.

    Args:
        gramian: Inner products, ``(m, m)``.
        meetings: In each row, the gradient that each task meets, ``(m, m)``.
        targets: Usual cosines, ``(m, m)``.
        beta: Their speed.
    """
    m, own = len(gramian), np.arange(len(gramian))
    norms = np.sqrt(np.maximum(np.diagonal(gramian), 0.0))
    turned, products = np.eye(m), gramian.copy()  # products: turned @ gramian
    for other in meetings:
        sizes = np.sqrt(np.maximum(np.einsum("ij,ij->i", turned, products), 0.0))
        scale = sizes * norms[other]
        defined = (other != own) & (scale > 0.0)
        scale = np.where(defined, scale, 1.0)
        cosine = np.clip(np.where(defined, products[own, other] / scale, 0.0), -1.0, 1.0)
        target = targets[own, other]
        below = defined & (cosine < target - _ROUNDING)
        if below.any():
            lengths = np.where(below, norms[other], 1.0)
            added = np.where(below, _multiple(cosine, target) * sizes / lengths, 0.0)
            turned[own, other] += added
            products += added[:, None] * gramian[other]
        targets[own, other] = np.where(defined, (1.0 - beta) * target + beta * cosine, target)
    return np.asarray(turned.sum(0))


def _multiple(cosine: Array, target: Array) -> Array:
    """How much of a unit vector brings another's cosine with it to the target."""
    sine = np.sqrt(np.maximum(1.0 - cosine**2, 0.0))
    aim = np.sqrt(np.maximum(1.0 - target**2, 1e-18))
    return np.asarray((target * sine - cosine * aim) / aim)
