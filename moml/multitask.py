"""Multi-task learning as a problem: an architecture, and a loss per task."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Literal, get_args

import torch
from torch import Tensor
from torch.nn import Parameter

from moml.architecture._base import Architecture
from moml.data.batch import Batch
from moml.losses import Loss
from moml.problem import FactoredProblem, Losses

Precision = Literal["float32", "bfloat16"]


class MultiTask(FactoredProblem):
    """Losses of an architecture's predictions on a `moml.data.Batch`.

    Single-input and multi-input batches, and partly labelled ones: a sample without a label for a
    task is left out of its loss, and a task without any label is absent from the step.

    Args:
        architecture: The network.
        losses: Loss per task, one for each of the architecture's tasks.
        precision: What the network computes in where that is safe (`torch.autocast`); losses,
            parameters and gradients stay in float32. ``"bfloat16"`` has the range of float32, so
            that nothing needs to be scaled: Gramians and weights are those of the gradients.
    """

    def __init__(
        self,
        architecture: Architecture,
        losses: Mapping[str, Loss],
        *,
        precision: Precision = "float32",
    ) -> None:
        if precision not in get_args(Precision):
            known = " or ".join(map(repr, get_args(Precision)))
            raise ValueError(f"`precision` should be {known}, found {precision!r}.")
        if set(losses) != set(architecture.tasks):
            raise ValueError(
                f"`losses` should have the architecture's tasks {sorted(architecture.tasks)}, "
                f"found {sorted(losses)}."
            )
        self.architecture, self.task_losses = architecture, dict(losses)
        self.precision = precision

    @property
    def tasks(self) -> tuple[str, ...]:
        """The architecture's tasks."""
        return self.architecture.tasks

    @property
    def module(self) -> Architecture:
        """The architecture."""
        return self.architecture

    def penalty(self) -> Tensor | None:
        """The architecture's regulariser."""
        return self.architecture.penalty()

    def after_step(self, step: int, steps: int) -> None:
        """The architecture's schedules."""
        self.architecture.after_step(step, steps)

    def shared_parameters(self) -> Iterable[Parameter]:
        """As the architecture says."""
        return self.architecture.shared_parameters()

    def private_parameters(self, task: str) -> Iterable[Parameter]:
        """As the architecture says."""
        return self.architecture.private_parameters(task)

    def features(self, batch: Batch) -> dict[str, Tensor]:
        """The architecture's representation of the inputs, for the tasks that have labels."""
        with self._autocast(batch):
            return self.architecture.features(batch.inputs, self.present(batch))

    def fan_out(self, features: dict[str, Tensor], batch: Batch) -> dict[str, Tensor] | None:
        """As the architecture says."""
        return self.architecture.fan_out(features, self.present(batch))

    def losses_from(self, features: dict[str, Tensor], batch: Batch) -> Losses:
        """Loss per task that has at least one label in the batch."""
        present = self.present(batch)
        with self._autocast(batch):
            predictions = self.architecture.decode(features, present)
        if self.precision != "float32":
            predictions = {task: prediction.float() for task, prediction in predictions.items()}
        return self.losses_of(predictions, batch, present)

    def losses_of(
        self, predictions: Mapping[str, Tensor], batch: Batch, tasks: Iterable[str]
    ) -> Losses:
        """Loss of each of some tasks, given predictions made by whatever weights."""
        return {task: self._loss(task, predictions[task], batch) for task in tasks}

    def present(self, batch: Batch) -> list[str]:
        """The tasks with at least one label in the batch."""
        for task in batch.targets:
            if task not in self.task_losses:
                raise ValueError(
                    f"`batch.targets` should name tasks among {list(self.tasks)}, found '{task}'."
                )
        return [task for task in self.tasks if batch.has_labels(task)]

    def _autocast(self, batch: Batch) -> AbstractContextManager[Any]:
        if self.precision == "float32":
            return nullcontext()
        inputs = batch.inputs
        some = inputs if isinstance(inputs, Tensor) else next(iter(inputs.values()))
        return torch.autocast(some.device.type, dtype=torch.bfloat16)

    def _loss(self, task: str, prediction: Tensor, batch: Batch) -> Tensor:
        prediction, target = batch.labelled(task, prediction)
        loss = self.task_losses[task]
        try:
            return loss(prediction, target)
        except (IndexError, RuntimeError, ValueError) as error:
            wrong = loss.check(target)
            if wrong is None:
                raise
            raise ValueError(f"Targets of task '{task}' should be {wrong}.") from error
