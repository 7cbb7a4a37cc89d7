"""Priority-constrained descent: a primary task leads, the others are sure of some progress."""

from __future__ import annotations

import torch
from torch import Tensor

from moml._support import checks
from moml.weighting._base import GramianWeighting
from moml.weighting._cone import constrained_weights
from moml.weighting._gramian import single, solve_each


class PCD(GramianWeighting):
    r"""Weights near the primary gradient that give every other task a share of progress.

    `Not All Objectives Are Born Equal: Priority-Constrained Descent for Hierarchical
    Multi-Objective Optimization <https://openreview.net/forum?id=HT01yGHLEt>`_, TMLR 2026:
    :math:`\min_d \|d - \tilde g_1\|^2` subject to :math:`\tilde g_j^\top d \ge \tau \|\tilde
    g_j\|^2`, with gradients divided by the root of a running mean of their squared norms; the
    result has the norm of :math:`g_1`. Where the constraints contradict each other (two opposite
    secondary gradients) they are dropped: the direction is the primary gradient. A step without
    the primary task is the average of the others' gradients.

    Args:
        primary: The task that leads; the first one unless given.
        tau: Progress of the others, as a share of what a step along their own gradient would give.
        beta: Decay of the running means.

    LibMTL: none; TorchJD: ``PCD`` (the first row leads).
    """

    traits = frozenset({"scale_invariant"})
    paper = "Priority-Constrained Descent, TMLR 2026"
    squares: Tensor
    counts: Tensor

    def __init__(
        self, *, primary: str | None = None, tau: float = 0.02, beta: float = 0.999
    ) -> None:
        super().__init__()
        if primary is not None:
            checks.instance("primary", primary, (str, int), "the name of a task")
        self.primary = primary
        self.tau = checks.number("tau", tau, least=0.0, most=1.0)
        self.beta = checks.number("beta", beta, least=0.0, below=1.0)

    def _allocate(self, num_tasks: int) -> None:
        if self.primary is not None and self.primary not in self.names:
            raise ValueError(
                f"`primary` should be among {list(self.names)}, found '{self.primary}'."
            )
        self.register_buffer("squares", torch.zeros(num_tasks, dtype=torch.float64))
        self.register_buffer("counts", torch.zeros(num_tasks, dtype=torch.long))

    def weights(
        self, gramian: Tensor, losses: Tensor | None = None, *, tasks: Tensor | None = None
    ) -> Tensor:
        """Weights with the primary gradient's norm, ``(m,)``; moves the running means."""
        self._check_bound()
        gramian = single(gramian, "PCD")
        present = torch.arange(len(self.names)) if tasks is None else tasks
        norms = self._usual_norms(gramian.diagonal(), present)
        leader = 0 if self.primary is None else self.names.index(self.primary)
        found = (present == leader).nonzero().flatten()
        m = len(present)
        if not len(found):
            return torch.full((m,), 1.0 / m, dtype=torch.float64)
        first = int(found)
        length = gramian[first, first]
        if length <= 0.0:
            return torch.zeros(m, dtype=torch.float64)
        scaled = gramian / norms.outer(norms)
        weights = solve_each(constrained_weights, scaled, first=first, share=self.tau) / norms
        square = weights @ gramian @ weights
        size = (weights.abs() * gramian.diagonal().clamp_min(0.0).sqrt()).sum().square()
        if square <= 1e-14 * size:  # opposite gradients: the rest is rounding
            return torch.zeros(m, dtype=torch.float64)
        return weights * (length / square).sqrt()

    def _usual_norms(self, squares: Tensor, present: Tensor) -> Tensor:
        """Roots of the running means of squared norms, 1 where that is zero."""
        self.counts[present] += 1
        self.squares[present] = self.beta * self.squares[present] + (
            1.0 - self.beta
        ) * squares.clamp_min(0.0)
        means = self.squares[present] / (1.0 - self.beta ** self.counts[present].double())
        return torch.where(means > 0.0, means, 1.0).sqrt()
