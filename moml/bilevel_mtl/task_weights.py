"""Learnt task weights: the lower level trains with them, the upper one judges on other data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import Parameter

from moml.architecture import Architecture
from moml.bilevel import Params
from moml.bilevel_mtl._weighted_sum import WeightedSum
from moml.bilevel_mtl.weight_form import SoftmaxWeights, WeightForm
from moml.data import Batch
from moml.multitask import MultiTask
from moml.problem import Losses


class TaskWeights(WeightedSum):
    r"""The weights of a multi-task network's losses as upper variables.

    :math:`\min_\omega (L_1^{val}(\theta), \dots, L_m^{val}(\theta))` subject to :math:`\theta \in
    \arg\min \sum_k w_k(\omega) L_k^{train}(\theta)`: the multi-task experiment of Ye et al.,
    `Multi-Objective Meta Learning <https://arxiv.org/abs/2102.07121>`_, NeurIPS 2021. A batch is a
    `moml.data.BilevelBatch` of `moml.data.Batch`; single-input and multi-input, partly labelled.

    The lower variables are the architecture's trainable parameters; whatever the oracle keeps of
    them is written back after every step, so that validation and checkpoints see it. Virtual steps
    and the upper objectives work on copies of buffers: running statistics change only where the
    lower level really moves.

    Args:
        problem: Network and losses.
        form: From the upper variable to weights; softmax of logits unless given.
        objectives: The tasks whose losses are upper objectives; all unless given (Auto-Lambda's
            primary tasks).
    """

    def __init__(
        self,
        problem: MultiTask,
        *,
        form: WeightForm | None = None,
        objectives: Sequence[str] | None = None,
    ) -> None:
        unknown = [task for task in objectives or () if task not in problem.tasks]
        if unknown or (objectives is not None and not objectives):
            raise ValueError(
                f"`objectives` should be among {list(problem.tasks)}, found "
                f"{list(objectives or [])}."
            )
        self.problem, self.form = problem, form or SoftmaxWeights()
        self._objectives = tuple(t for t in problem.tasks if objectives is None or t in objectives)
        self._module = _Levels(problem.architecture, self.form.initial(len(problem.tasks)))

    @property
    def tasks(self) -> tuple[str, ...]:
        """The upper objectives."""
        return self._objectives

    @property
    def module(self) -> nn.Module:
        """The architecture, and the upper variable."""
        return self._module

    def after_step(self, step: int, steps: int) -> None:
        """The architecture's schedules."""
        self.problem.after_step(step, steps)

    def upper_parameters(self) -> dict[str, Parameter]:
        """One number per task."""
        return {"task_weights": self._module.omega}

    def term_weights(self, omega: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Every task's weight."""
        weights = self.form.weights(omega["task_weights"])
        return dict(zip(self.problem.tasks, weights, strict=True))

    def lower_init(
        self, omega: Mapping[str, Tensor], batch: object, previous: Params | None
    ) -> Params:
        """Where the lower level was left; at first, the architecture's parameters.

        What is trainable now: a parameter that is frozen stays where it is, one that is unfrozen
        starts from its own value.
        """
        named = self.problem.architecture.named_parameters()
        known = previous or {}
        return {name: known.get(name, p.detach()) for name, p in named if p.requires_grad}

    def lower_terms(self, theta: Params, batch: Batch) -> Losses:
        """Training loss of every task present."""
        return self._losses(theta, batch, self.problem.present(batch), self._buffers())

    def regulariser(self, theta: Params) -> Tensor | None:
        """The architecture's."""
        return self.problem.penalty_at(theta)

    def upper_losses(self, theta: Params, omega: Mapping[str, Tensor], batch: Batch) -> Losses:
        """Held-out loss of every objective present."""
        wanted = [task for task in self.problem.present(batch) if task in self._objectives]
        return self._losses(theta, batch, wanted, self._buffers())

    def training_loss(self, theta: Params, omega: Mapping[str, Tensor], batch: Batch) -> Tensor:
        """The lower loss, updating the architecture's own running statistics."""
        terms = self._losses(theta, batch, self.problem.present(batch), {})
        return self.weighted(terms, theta, omega)

    def commit(self, theta: Params) -> None:
        """Write the lower variables into the architecture."""
        parameters = dict(self.problem.architecture.named_parameters())
        with torch.no_grad():
            for name, value in theta.items():
                parameters[name].copy_(value)

    def curves(self) -> dict[str, dict[str, float]]:
        """The learnt weights, for the log."""
        with torch.no_grad():
            weights = self.term_weights(self.upper_parameters())
        return {"Learnt task weights": {task: float(w) for task, w in weights.items()}}

    def _losses(self, theta: Params, batch: Batch, tasks: Sequence[str], buffers: Params) -> Losses:
        if not tasks:
            return {}
        state = {**theta, **buffers}
        return self.problem.losses_at(state, batch, tasks)

    def _buffers(self) -> Params:
        return {name: b.clone() for name, b in self.problem.architecture.named_buffers()}


class _Levels(nn.Module):
    """What a checkpoint stores."""

    def __init__(self, architecture: Architecture, start: Tensor) -> None:
        super().__init__()
        self.architecture = architecture
        like = next((p for p in architecture.parameters() if p.is_floating_point()), start)
        self.omega = Parameter(start.to(like))
