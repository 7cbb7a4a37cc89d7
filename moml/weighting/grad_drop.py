"""Gradient sign dropout: every entry keeps one sign only, drawn by how much the tasks agree."""

from __future__ import annotations

from numbers import Real

import torch
from torch import Tensor

from moml._support import checks
from moml.weighting._base import JacobianAggregator, Randomized
from moml.weighting._preference import Preference, given_per_task, per_task, rows


class GradDrop(Randomized, JacobianAggregator):
    r"""For every entry, the sum of the gradients of one sign, which is drawn at random.

    Chen et al., `Just Pick a Sign: Optimizing Deep Multitask Models with Gradient Sign Dropout
    <https://arxiv.org/abs/2010.06808>`_, NeurIPS 2020. The positive sign is kept with probability
    :math:`P = \tfrac12 (1 + \sum_i g_i / \sum_i |g_i|)`. The paper applies it to the representation
    (``gradients="representation"``), where signs are first multiplied by those of the activations
    and summed over the batch; here every entry of every sample draws for itself.

    Args:
        leak: Share of every gradient that is kept whatever its sign, 0 to 1; one for all tasks, or
            one each, in order or by name.
        seed: Of the generator; PyTorch's global seed unless given.

    LibMTL name: ``GradDrop`` (representation only); TorchJD: ``GradDrop``.
    """

    traits = frozenset({"scale_invariant", "permutation"})
    paper = "Chen et al., Just Pick a Sign, NeurIPS 2020"

    leaks: Tensor

    def __init__(self, *, leak: float | Preference = 0.0, seed: int | None = None) -> None:
        super().__init__(seed)
        self.leak: float | Preference = (
            checks.number("leak", leak, least=0.0, most=1.0)
            if isinstance(leak, (str, Real))
            else given_per_task(leak, argument="leak")
        )

    def _allocate(self, num_tasks: int) -> None:
        if isinstance(self.leak, (int, float)):
            return
        leaks = per_task(self.leak, self.names, argument="leak", default=0.0)
        _check(float(leaks.min()), float(leaks.max()))
        self.register_buffer("leaks", leaks, persistent=False)

    def direction(
        self, jacobian: Tensor, losses: Tensor | None = None, *, tasks: Tensor | None = None
    ) -> Tensor:
        """Sum of the entries of the signs drawn, ``(n,)``."""
        total, size = jacobian.sum(0), jacobian.abs().sum(0)
        purity = 0.5 * (1.0 + total / size.where(size > 0.0, 1.0))  # (n,) P
        draw = torch.rand(purity.shape, generator=self.generator, dtype=torch.float64)
        positive = purity.double() > draw.to(purity.device)
        kept = torch.where(positive, jacobian.clamp_min(0.0), jacobian.clamp_max(0.0))
        if isinstance(self.leak, (int, float)):
            return self.leak * total + (1.0 - self.leak) * kept.sum(0)
        self._check_bound()
        leaks = rows(self.leaks, tasks).to(jacobian)
        return leaks @ jacobian + (1.0 - leaks) @ kept


def _check(smallest: float, largest: float) -> None:
    if not 0.0 <= smallest <= largest <= 1.0:
        raise ValueError(f"`leak` should be between 0 and 1, found {smallest} to {largest}.")
