"""What decides about sharing, learnt on held-out data; the network's weights, on training data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torch.nn import Parameter

from moml.architecture import Architecture
from moml.bilevel import BilevelProblem, Params
from moml.bilevel_mtl._weighted_sum import check_terms
from moml.data import Batch
from moml.multitask import MultiTask
from moml.problem import Losses


class SharingStructure(BilevelProblem):
    r"""An architecture's structure (gates, branches, units) as upper variables.

    :math:`\min_\omega (L_1^{val}(\theta, \omega), \dots, L_m^{val}(\theta, \omega))` subject to
    :math:`\theta \in \arg\min \sum_k L_k^{train}(\theta, \omega)`: the bi-level form of Guo, Ye,
    Zhang, `Safe Multi-Task Learning <https://arxiv.org/abs/2111.10601>`_, 2021. A batch is a
    `moml.data.BilevelBatch` of `moml.data.Batch`. As in `TaskWeights`, virtual steps work on copies
    of buffers, and what the oracle keeps of the weights is written back after every step.

    Args:
        problem: Network and losses.

    Raises:
        ValueError: If the architecture has no structure to learn.
    """

    def __init__(self, problem: MultiTask) -> None:
        self.problem = problem
        wanted = set(problem.architecture.structure())
        if not wanted:
            raise ValueError(
                "`architecture` should have a structure to learn, found none in "
                f"{type(problem.architecture).__name__}. SafeMTL, LTB and CrossStitch have."
            )
        named = list(problem.architecture.named_parameters())
        self._upper = {name: p for name, p in named if p in wanted and p.requires_grad}
        self._lower = {name: p for name, p in named if p not in wanted}

    @property
    def tasks(self) -> tuple[str, ...]:
        """The tasks: their held-out losses are the upper objectives."""
        return self.problem.tasks

    @property
    def module(self) -> Architecture:
        """The architecture."""
        return self.problem.architecture

    def after_step(self, step: int, steps: int) -> None:
        """The architecture's schedules."""
        self.problem.after_step(step, steps)

    def upper_parameters(self) -> dict[str, Parameter]:
        """The structure."""
        return dict(self._upper)

    def lower_init(
        self, omega: Mapping[str, Tensor], batch: object, previous: Params | None
    ) -> Params:
        """Where the lower level was left; at first, the architecture's other parameters.

        What is trainable now: a parameter that is frozen stays where it is.
        """
        known = previous or {}
        return {n: known.get(n, p.detach()) for n, p in self._lower.items() if p.requires_grad}

    def lower_loss(self, theta: Params, omega: Mapping[str, Tensor], batch: Batch) -> Tensor:
        """Sum of the training losses of the tasks present, and the architecture's regulariser."""
        return self._sum(theta, omega, self._losses(theta, omega, batch, self._buffers()))

    def upper_losses(self, theta: Params, omega: Mapping[str, Tensor], batch: Batch) -> Losses:
        """Held-out loss of every task present."""
        return self._losses(theta, omega, batch, self._buffers())

    def training_loss(self, theta: Params, omega: Mapping[str, Tensor], batch: Batch) -> Tensor:
        """The lower loss, updating the architecture's own running statistics."""
        return self._sum(theta, omega, self._losses(theta, omega, batch, {}))

    def commit(self, theta: Params) -> None:
        """Write the lower variables into the architecture."""
        with torch.no_grad():
            for name, value in theta.items():
                self._lower[name].copy_(value)

    def _losses(
        self, theta: Params, omega: Mapping[str, Tensor], batch: Batch, buffers: Params
    ) -> Losses:
        tasks: Sequence[str] = self.problem.present(batch)
        if not tasks:
            return {}
        state = {**theta, **omega, **buffers}
        return self.problem.losses_at(state, batch, tasks)

    def _sum(self, theta: Params, omega: Mapping[str, Tensor], losses: Losses) -> Tensor:
        check_terms(losses)
        total = torch.stack(list(losses.values())).sum()
        penalty = self.problem.penalty_at({**theta, **omega})
        return total if penalty is None else total + penalty

    def _buffers(self) -> Params:
        return {name: b.clone() for name, b in self.problem.architecture.named_buffers()}
