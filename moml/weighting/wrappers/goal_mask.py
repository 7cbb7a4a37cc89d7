"""Tasks that are where they should be drop out, per step or per sample."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torch.nn import Parameter

from moml._support import checks
from moml.gradients.task_gradients import Evaluation, Reweighted
from moml.weighting._base import GramianWeighting, LossWeighting, Weighting
from moml.weighting.ew import EW
from moml.weighting.wrappers._base import Wrapper


class GoalMask(Wrapper):
    """Leaves out tasks that have reached their goal; the weighting inside sees the others only.

    The goal mask of Bui, Le, Zhao, Tran, Montague, Phung, `Generating adversarial examples with
    task oriented multi-objective optimization <https://arxiv.org/abs/2304.13229>`_, TMLR 2023, for
    any weighting. In training a task's goal is a loss; in attacks (`moml.attack.OneDelta`) it is a
    property of each sample, and every sample has a mask of its own. Where all tasks are there, all
    take part again.

    Args:
        weighting: The method that weighs the tasks that remain; `EW` unless given.
        goals: Loss at or below which a task drops out of a training step, one for all tasks or by
            name (tasks not named never drop out); none unless given.
    """

    def __init__(
        self,
        weighting: Weighting | None = None,
        *,
        goals: float | Mapping[str, float] | None = None,
    ) -> None:
        super().__init__(EW() if weighting is None else weighting)
        if isinstance(goals, Mapping):
            checks.numbers("goals", list(goals.values()), "a loss by task")
        elif goals is not None:
            checks.number("goals", goals)
        self.goals = goals

    def _allocate(self, num_tasks: int) -> None:
        super()._allocate(num_tasks)
        if isinstance(self.goals, Mapping) and not set(self.goals) <= set(self.names):
            raise ValueError(
                f"`goals` should name tasks among {list(self.names)}, found {list(self.goals)}."
            )

    def update(self, evaluation: Evaluation) -> Tensor | None:
        """Apply the weights of the tasks that remain, zero for the others."""
        reached = evaluation.losses <= self._thresholds(evaluation)  # (m,)
        if reached.all() or not reached.any():
            return self.weighting.update(evaluation)
        rest = _Rows(evaluation, (~reached).nonzero()[:, 0])
        weights = self.weighting.update(rest)
        return None if weights is None else rest.expanded(weights)

    def sample_weights(self, gramian: Tensor, losses: Tensor, *, reached: Tensor) -> Tensor:
        """Weights for every sample of a batch, ``(B, m)``, zero for tasks that are there.

        A method that looks at losses alone is asked once for all samples with the same mask, with
        their mean losses.

        Args:
            gramian: Inner products of each sample's gradients, ``(B, m, m)``.
            losses: ``(B, m)``.
            reached: Where the goal is reached, bools ``(B, m)``.

        Raises:
            ValueError: If the weighting inside works neither on losses nor on the Gramian.
        """
        remain = ~reached | reached.all(1, keepdim=True)  # (B, m)
        weights = torch.zeros_like(losses)
        for mask in remain.unique(dim=0):
            samples = (remain == mask).all(1).nonzero()[:, 0]
            tasks = mask.nonzero()[:, 0]
            where = (samples[:, None], tasks)
            inner = gramian[samples][:, tasks][:, :, tasks]
            weights[where] = self._weigh(inner, losses[where], tasks.cpu()).to(weights)
        return weights

    def _weigh(self, gramian: Tensor, losses: Tensor, tasks: Tensor) -> Tensor:
        losses = losses.detach().double().cpu()
        if isinstance(self.weighting, GramianWeighting):
            return self.weighting.weights(gramian, losses, tasks=tasks)
        if isinstance(self.weighting, LossWeighting):
            return self.weighting.weights(losses.mean(0), tasks=tasks).expand(len(losses), -1)
        raise ValueError(
            "`weighting` should be a LossWeighting or GramianWeighting to weigh every sample, "
            f"found {type(self.weighting).__name__}."
        )

    def _thresholds(self, evaluation: Evaluation) -> Tensor:
        if isinstance(self.goals, Mapping):
            found = [self.goals.get(name, -torch.inf) for name in evaluation.names]
        else:
            goal = -torch.inf if self.goals is None else self.goals
            found = [goal] * len(evaluation.names)
        return torch.tensor(found, dtype=torch.float64)


class _Rows(Reweighted):
    """A step with some of its tasks only; the others' weights are zero."""

    def __init__(self, base: Evaluation, rows: Tensor) -> None:
        super().__init__(base, self.expanded)
        self.rows, self.size = rows, len(base.names)
        self.names = tuple(base.names[i] for i in rows.tolist())
        self.tasks = base.tasks[rows]

    def expanded(self, weights: Tensor) -> Tensor:
        """Zeros for the tasks left out, ``(m,)``."""
        full = torch.zeros(self.size, dtype=torch.float64)
        full[self.rows] = weights.detach().double().cpu()
        return full

    @property
    def losses(self) -> Tensor:
        """Losses of the rows."""
        return self.base.losses[self.rows]

    @property
    def gramian(self) -> Tensor:
        """Inner products of the rows."""
        return self.base.gramian[self.rows][:, self.rows]

    @property
    def jacobian(self) -> Tensor:
        """The rows."""
        rows = self.base.jacobian
        return rows[self.rows.to(rows.device)]

    def select(self, rows: Tensor) -> Evaluation:
        """Fewer of the tasks."""
        return _Rows(self.base, self.rows[rows])

    def task_gradients(self) -> tuple[Sequence[Parameter], list[Sequence[Tensor | None]]]:
        """The shared parameters and the gradients of the rows."""
        parameters, gradients = self.base.task_gradients()
        return parameters, [gradients[i] for i in self.rows.tolist()]
