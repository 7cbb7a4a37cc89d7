"""Coordinate-wise trimmed mean: every parameter ignores the most extreme tasks."""

from __future__ import annotations

from torch import Tensor

from moml._support import checks
from moml.weighting._base import JacobianAggregator


class TrimmedMean(JacobianAggregator):
    """For every parameter, the mean of the gradients without the largest and smallest ones.

    Yin, Chen, Ramchandran & Bartlett, `Byzantine-Robust Distributed Learning: Towards Optimal
    Statistical Rates <https://arxiv.org/abs/1803.01498>`_, ICML 2018. As `Krum` it is made for
    machines that should send the same gradient; tasks that differ are ignored as outliers, entry by
    entry, and there are no weights per task.

    Args:
        trim: How many to leave out on each side; less where fewer than ``2 * trim + 1`` are there.

    LibMTL: none; TorchJD: ``TrimmedMean``.
    """

    traits = frozenset({"permutation", "scale_invariant"})
    paper = "Yin et al., Byzantine-Robust Distributed Learning, ICML 2018"

    def __init__(self, *, trim: int = 1) -> None:
        super().__init__()
        self.trim = checks.whole("trim", trim, least=0)

    def direction(
        self, jacobian: Tensor, losses: Tensor | None = None, *, tasks: Tensor | None = None
    ) -> Tensor:
        """Mean of what is left in each column, ``(n,)``.

        Raises:
            ValueError: If no entry is reached by enough tasks for anything to be left.
        """
        m = len(jacobian)
        trim = min(self.trim, (m - 1) // 2)
        users = (jacobian != 0.0).sum(0)
        if users.any() and int(users.max()) <= trim:
            raise ValueError(
                f"`jacobian` should have entries that more than {trim} tasks reach, found none: "
                "the trimmed mean is zero. Use gradients of parameters for multi-input data."
            )
        return jacobian.sort(dim=0).values[trim : m - trim].mean(0)
