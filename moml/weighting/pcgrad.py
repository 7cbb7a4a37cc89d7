"""Projecting conflicting gradients, computed on their inner products."""

from __future__ import annotations

import torch
from torch import Tensor

from moml.weighting._base import GramianWeighting, Randomized
from moml.weighting._gramian import checked


class PCGrad(Randomized, GramianWeighting):
    r"""Weights that remove from each gradient its conflicts with the others, in random order.

    Yu et al., `Gradient Surgery for Multi-Task Learning <https://arxiv.org/abs/2001.06782>`_,
    NeurIPS 2020. Every gradient is projected in turn onto the normal plane of each other gradient
    it conflicts with; the update is the sum of the results. Only combinations of gradients arise,
    so the m² projections work on coefficients, not on vectors of parameters. With three or more
    tasks a later projection can bring an earlier conflict back: the sum may conflict.

    Args:
        seed: Of the generator of the orders; PyTorch's global seed unless given.

    LibMTL name: ``PCGrad``; TorchJD: ``PCGrad``.
    """

    traits = frozenset({"scale_invariant", "linear_under_scaling"})
    paper = "Yu et al., Gradient Surgery for Multi-Task Learning, NeurIPS 2020"

    def __init__(self, *, seed: int | None = None) -> None:
        super().__init__(seed)

    def weights(
        self, gramian: Tensor, losses: Tensor | None = None, *, tasks: Tensor | None = None
    ) -> Tensor:
        """Column sums of the projected gradients' coefficients, ``(*b, m)``."""
        gramian = checked(gramian)  # (*b, m, m)
        m = gramian.shape[-1]
        squares = gramian.diagonal(dim1=-2, dim2=-1)  # (*b, m)
        rows = torch.eye(m, dtype=torch.float64).expand(gramian.shape).clone()
        orders = torch.rand(gramian.shape, generator=self.generator, dtype=torch.float64).argsort()
        itself = torch.arange(m)
        for others in orders.unbind(-1):  # (*b, m): the gradient that each task meets now
            index = others[..., None]  # (*b, m, 1)
            products = (rows * gramian.take_along_dim(index, -2)).sum(-1)
            conflict = (products < 0.0) & (others != itself)
            lengths = squares.take_along_dim(others, -1).where(conflict, 1.0)
            removed = torch.where(conflict, products / lengths, 0.0)
            rows.scatter_add_(-1, index, -removed[..., None])
        return rows.sum(-2)
