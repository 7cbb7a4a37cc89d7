"""Excess-risk weighting: tasks far from their optimum get more weight, noisy ones do not."""

from __future__ import annotations

import torch
from torch import Tensor

from moml._support import checks
from moml.gradients.task_gradients import Evaluation
from moml.weighting._answers import finite_rows
from moml.weighting._base import Needs, Weighting
from moml.weighting._memory import Memory


class ExcessMTL(Weighting):
    r"""Weights that grow with an estimate of how far each loss is above its minimum.

    He et al., `Robust Multi-Task Learning with Excess Risks <https://arxiv.org/abs/2402.02009>`_,
    ICML 2024. With the running sum of squared gradients :math:`H_i` the excess risk is
    :math:`E_i = g_i^\top H_i^{-1/2} g_i`, relative to its value in the first step; weights follow
    :math:`w_i \leftarrow w_i e^{\eta E_i}`, normalised. A loss that label noise keeps large has no
    excess. Keeps one vector of parameters' size per task. Weights sum to 1 as in the paper; those
    of the authors' code and LibMTL sum to the number of tasks: ``WeightSum(ExcessMTL())``. Where
    nothing is shared heads get their own loss's gradient.

    Args:
        lr: Step size :math:`\eta`; 0.01 as LibMTL (TorchJD: 1).
        warmup: Steps of a task in which its weight rests while :math:`H` grows; its mean excess in
            them is what later ones are relative to (the paper: three epochs). With 0, as in the
            authors' code, it is the first step's.

    LibMTL name: ``ExcessMTL``; TorchJD: ``ExcessMTL``.
    """

    needs: Needs = "jacobian"  # type: ignore[misc]
    traits = frozenset({"simplex", "permutation", "scale_invariant"})
    paper = "He et al., Robust Multi-Task Learning with Excess Risks, ICML 2024"
    logits: Tensor
    first: Tensor

    def __init__(self, *, lr: float = 0.01, warmup: int = 0) -> None:
        super().__init__()
        self.lr = checks.number("lr", lr, above=0.0)
        self.warmup = checks.whole("warmup", warmup, least=0, unit="steps")

    def _allocate(self, num_tasks: int) -> None:
        self.register_buffer("logits", torch.zeros(num_tasks, dtype=torch.float64))
        self.register_buffer("first", torch.zeros(num_tasks, dtype=torch.float64))
        self.squares = Memory(num_tasks)

    def update(self, evaluation: Evaluation) -> Tensor:
        """Renew the weights from the gradients' excess, and apply them.

        Raises:
            NonFiniteError: If a gradient is not finite; nothing was written then.
        """
        self._check_bound()
        tasks, (rows, live) = evaluation.tasks, finite_rows(evaluation)
        if live.any():
            self.squares.arrange(evaluation.places, evaluation.blocks)
            self._learn(rows, tasks)
        weights = self.logits[tasks].softmax(0)
        evaluation.apply(weights, heads=None if live.any() else "unit")
        return weights

    def _learn(self, rows: Tensor, tasks: Tensor) -> None:
        sums = self.squares.update(rows, tasks, lambda old, new, count: old + new.square())
        roots = sums.sqrt()
        excess = (rows.square() / roots.where(roots > 0.0, 1.0)).sum(1).double().cpu()
        steps, first = self.squares.counts[tasks].to(excess.device), self.first[tasks]
        learning = steps <= self.warmup  # the mean of the excess so far
        mean = first + (excess - first) / steps
        self.first[tasks] = torch.where(learning, mean, first.where(first > 0.0, excess))
        first = self.first[tasks]
        gain = self.lr * excess / first.where(first > 0.0, 1.0)
        self.logits[tasks] += gain.where(~learning, 0.0)
        self.logits -= self.logits.max().clone()
