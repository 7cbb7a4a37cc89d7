"""Excess-risk weighting: tasks far from their optimum get more weight, noisy ones do not."""

from __future__ import annotations

import torch
from torch import Tensor

from moml.evaluation import Evaluation
from moml.weighting._base import Needs, Weighting
from moml.weighting._memory import Memory


class ExcessMTL(Weighting):
    r"""Weights that grow with an estimate of how far each loss is above its minimum.

    He et al., `Robust Multi-Task Learning with Excess Risks <https://arxiv.org/abs/2402.02009>`_,
    ICML 2024. With the running sum of squared gradients :math:`H_i` the excess risk is
    :math:`E_i = g_i^\top H_i^{-1/2} g_i`, relative to its value in the first step; weights follow
    :math:`w_i \leftarrow w_i e^{\eta E_i}`, normalised. A loss that label noise keeps large has no
    excess. Keeps one vector of parameters' size per task.

    Args:
        lr: Step size :math:`\eta`; 0.01 as LibMTL (TorchJD: 1).

    LibMTL name: ``ExcessMTL``; TorchJD: ``ExcessMTL``.
    """

    needs: Needs = "jacobian"  # type: ignore[misc]
    traits = frozenset({"simplex", "permutation", "scale_invariant"})
    paper = "He et al., Robust Multi-Task Learning with Excess Risks, ICML 2024"
    logits: Tensor
    first: Tensor

    def __init__(self, *, lr: float = 0.01) -> None:
        super().__init__()
        if lr <= 0.0:
            raise ValueError(f"`lr` should be positive, found {lr}.")
        self.lr = lr

    def _allocate(self, num_tasks: int) -> None:
        self.register_buffer("logits", torch.zeros(num_tasks, dtype=torch.float64))
        self.register_buffer("first", torch.zeros(num_tasks, dtype=torch.float64))
        self.squares = Memory(num_tasks)

    def update(self, evaluation: Evaluation) -> Tensor:
        """Renew the weights from the gradients' excess, and apply them."""
        self._check_bound()
        tasks, rows = evaluation.tasks, evaluation.jacobian
        sums = self.squares.update(rows, tasks, lambda old, new, count: old + new.square())
        roots = sums.sqrt()
        excess = (rows.square() / roots.where(roots > 0.0, 1.0)).sum(1).double().cpu()
        unknown = self.first[tasks] <= 0.0
        self.first[tasks] = torch.where(unknown, excess, self.first[tasks])
        first = self.first[tasks]
        self.logits[tasks] += self.lr * excess / torch.where(first > 0.0, first, 1.0)
        self.logits -= self.logits.max().clone()
        weights = self.logits[tasks].softmax(0)
        evaluation.apply(weights)
        return weights
