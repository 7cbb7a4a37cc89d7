"""Multi-task learning as a problem: an architecture, and a loss per task."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import Parameter

from moml.architecture._base import Architecture
from moml.data.batch import Batch
from moml.data.inputs import Inputs, tensors_in
from moml.losses import Loss
from moml.problem import FactoredProblem, Losses

Precision = Literal["float32", "bfloat16"]
Predictions = tuple[dict[str, Tensor], dict[str, Tensor]]
"""Predictions by task, and auxiliary ones."""


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
            predictions = _predictions(self.architecture, features, present)
        return self._losses(predictions, batch, present)

    def losses_at(self, state: Mapping[str, Tensor], batch: Batch, tasks: Sequence[str]) -> Losses:
        """Losses of some tasks with other parameters and buffers in the architecture's place."""
        network = _Network(self.architecture)
        made = functional_call(network, _placed(state), (batch.inputs, tasks))
        return self._losses(made, batch, tasks)

    def penalty_at(self, state: Mapping[str, Tensor]) -> Tensor | None:
        """The architecture's regulariser with other parameters in its place; after `losses_at`."""
        found: Tensor | None = functional_call(_Regulariser(self.architecture), _placed(state), ())
        return found

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
        some = next(tensors_in(batch.inputs))
        return torch.autocast(some.device.type, dtype=torch.bfloat16)

    def _losses(self, predictions: Predictions, batch: Batch, tasks: Iterable[str]) -> Losses:
        """A task's loss: of its prediction and, in proportion, of its auxiliary one."""
        main, auxiliary = predictions
        losses = {task: self._loss(task, main[task], batch) for task in tasks}
        for task, prediction in auxiliary.items():
            further = self._loss(task, prediction, batch)
            losses[task] = losses[task] + self.architecture.auxiliary_weight * further
        return losses

    def _loss(self, task: str, prediction: Tensor, batch: Batch) -> Tensor:
        prediction, target = batch.labelled(task, self._full(prediction))
        loss = self.task_losses[task]
        try:
            return loss(prediction, target)
        except (IndexError, RuntimeError, ValueError) as error:
            wrong = loss.check(target)
            if wrong is None:
                raise
            raise ValueError(f"Targets of task '{task}' should be {wrong}.") from error

    def _full(self, prediction: Tensor) -> Tensor:
        return prediction if self.precision == "float32" else prediction.float()


class _Network(nn.Module):
    """The architecture as a function from inputs to all its predictions."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        self.architecture = architecture

    def forward(self, inputs: Inputs, tasks: Sequence[str]) -> Predictions:
        features = self.architecture.features(inputs, tasks)
        return _predictions(self.architecture, features, tasks)


class _Regulariser(nn.Module):
    """The architecture as a function of its parameters alone."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        self.architecture = architecture

    def forward(self) -> Tensor | None:
        return self.architecture.penalty()


def _placed(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {f"architecture.{name}": value for name, value in state.items()}


def _predictions(
    architecture: Architecture, features: dict[str, Tensor], tasks: Sequence[str]
) -> Predictions:
    return architecture.decode(features, tasks), architecture.auxiliary(features, tasks)
