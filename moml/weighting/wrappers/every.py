"""New weights every n steps only."""

from __future__ import annotations

import torch
from torch import Tensor

from moml._support import checks
from moml.gradients.task_gradients import Evaluation, Heads
from moml.weighting._base import Weighting
from moml.weighting.wrappers._base import Recorder, Wrapper

_HEADS: tuple[Heads | None, ...] = (None, "unit", "weighted")


class Every(Wrapper):
    """Computes weights every ``n`` steps and applies them again in between, at the price of `EW`.

    Nash-MTL's ``update_weights_every`` for any method. In between neither Gramian nor Jacobian is
    touched. A task that has no weight yet, because it was absent at the last renewal, brings the
    next renewal forward; weights of absent tasks are kept. The learnable parameters of the
    weighting inside go on learning in every step.

    Args:
        weighting: The method that computes weights.
        n: Steps between renewals; 1 changes nothing.
    """

    stored: Tensor
    known: Tensor
    age: Tensor
    heads: Tensor

    def __init__(self, weighting: Weighting, *, n: int) -> None:
        super().__init__(weighting)
        self.n = checks.whole("n", n, least=1)

    def _allocate(self, num_tasks: int) -> None:
        super()._allocate(num_tasks)
        self.register_buffer("stored", torch.zeros(num_tasks, dtype=torch.float64))
        self.register_buffer("known", torch.zeros(num_tasks, dtype=torch.bool))
        self.register_buffer("age", torch.zeros((), dtype=torch.long))  # steps since the renewal
        self.register_buffer("heads", torch.zeros((), dtype=torch.long))  # index into _HEADS

    def update(self, evaluation: Evaluation) -> Tensor:
        """Renew the weights if they are due, else apply those stored."""
        self._check_bound()
        tasks = evaluation.tasks
        if self.age % self.n == 0 or not self.known[tasks].all():
            self._renew(evaluation)
        else:
            evaluation.apply(self.stored[tasks], heads=_HEADS[int(self.heads)])
        self.age += 1
        return self.stored[tasks]

    def _renew(self, evaluation: Evaluation) -> None:
        recorder = Recorder(evaluation, lambda weights: weights, self)
        self.weighting.update(recorder)
        self.stored[evaluation.tasks] = recorder.weights()
        self.known[evaluation.tasks] = True
        self.heads.fill_(_HEADS.index(recorder.heads))
        self.age.zero_()
