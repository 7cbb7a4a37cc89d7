"""What may look on while the loop runs."""

from __future__ import annotations

from abc import ABC
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from moml.data.stream import Stream
from moml.gradients.task_gradients import Evaluation
from moml.optim import Updater
from moml.oracle import Oracle
from moml.problem import Objectives
from moml.weighting import Weighting

__all__ = ["Callback", "History", "StepRecord", "Training"]


@dataclass(frozen=True)
class StepRecord:
    """One step of training.

    Attributes:
        step: Number of steps done, this one included.
        epoch: Epoch of the batch.
        losses: Loss per task present.
        weights: Applied weight per task present; empty if the method has none.
        curves: What the problem wants charted, by chart and line.
    """

    step: int
    epoch: int
    losses: dict[str, float]
    weights: dict[str, float]
    curves: Mapping[str, Mapping[str, float]] = field(default_factory=dict)


@dataclass
class History:
    """What `fit` returns.

    Attributes:
        records: The steps done by this call.
        stopped: Why training ended early; empty if it did not.
        skipped: Batches left out because no task had a defined label, since step 0.
        tasks: Names of the problem's tasks.
    """

    records: list[StepRecord] = field(default_factory=list)
    stopped: str = ""
    skipped: int = 0
    tasks: tuple[str, ...] = ()

    def losses(self, task: str | int) -> list[float]:
        """The losses of a task, at the steps where it was present.

        Raises:
            ValueError: If there is no such task.
        """
        name = str(task)
        if self.tasks and name not in self.tasks:
            raise ValueError(f"`task` should be one of {list(self.tasks)}, found {task!r}.")
        return [record.losses[name] for record in self.records if name in record.losses]


@dataclass
class Training:
    """The state of a running loop, as callbacks see it.

    Attributes:
        step: Number of steps done.
        steps: Number of steps to do.
        evaluation: The current step's evaluation.
        weights: The weights applied in this step, if the method has any.
        record: The step just done.
        looked_at_tasks: Whether tasks without any label were looked for.
        made_of: Losses and optimizers in words, for a run that resumes from this one.
    """

    problem: Objectives
    oracle: Oracle
    weighting: Weighting
    updater: Updater
    stream: Stream
    steps: int
    step: int = 0
    evaluation: Evaluation | None = None
    weights: Tensor | None = None
    record: StepRecord | None = None
    history: History = field(default_factory=History)
    looked_at_tasks: bool = False
    made_of: Mapping[str, Any] = field(default_factory=dict)


class Callback(ABC):  # noqa: B024 - every hook is optional
    """Looks on while the loop runs; every hook is optional."""

    def start(self, training: Training) -> None:
        """Before the first step of this process; a resumed run has ``training.step > 0``."""
        return

    def before_update(self, training: Training) -> None:
        """Losses are known, nothing is applied yet: the place to form a Gramian."""
        return

    def after_step(self, training: Training) -> None:
        """The parameters have moved and ``training.record`` is filled."""
        return

    def finish(self, training: Training) -> None:
        """After the last step, also when stopped early."""
        return

    def state_dict(self) -> dict[str, Any]:
        """Plain data and tensors that a resumed run needs."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` returned; called before `start`."""
        return
