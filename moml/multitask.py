"""Multi-task learning as a problem: an architecture, and a loss per task."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import Parameter

from moml._support.nesting import tensors_in
from moml._support.substitution import substituted
from moml._support.task_names import by_task
from moml.architecture import Architecture, GraphCheck, WholeModel, check_fit
from moml.data.as_batch import as_batch
from moml.data.batch import Batch
from moml.data.inputs import mapped
from moml.errors import NoLabelsError
from moml.losses import Loss
from moml.losses.given import as_loss
from moml.losses.value import in_words, loss_value, misfit
from moml.problem import FactoredProblem, Losses

Precision = Literal["float32", "bfloat16"]
Predictions = tuple[dict[str, Tensor], dict[str, Tensor]]
"""Predictions by task, and auxiliary ones."""


class MultiTask(FactoredProblem):
    """Losses of a network's predictions on a `moml.data.Batch`.

    Single-input and multi-input batches, and partly labelled ones: a sample without a label for a
    task is left out of its loss, and a task without any label, or whose labels are all undefined
    for its loss, is absent from the step.

    In `moml.fit` batches may also come as a `torch.utils.data.DataLoader` makes them, see
    `moml.data.as_batch`; they are moved to the network's device.

    Args:
        architecture: The network. Any module that returns a prediction for every task will do: a
            mapping by task, or a tuple in the order of ``losses``; then all its parameters count as
            shared unless `moml.architecture.WholeModel` says which are a task's own.
        losses: Loss per task, one for each of the architecture's tasks: of `moml.losses`, a loss
            module of `torch.nn`, or a function from prediction and target to a mean over samples.
        precision: What the network computes in where that is safe (`torch.autocast`); losses,
            parameters and gradients stay in float32. ``"bfloat16"`` has the range of float32, so
            that nothing needs to be scaled: Gramians and weights are those of the gradients.

    Raises:
        ValueError: If losses and tasks differ, or something is not what it should be.
    """

    def __init__(
        self,
        architecture: Architecture | nn.Module,
        losses: Mapping[Any, Loss | Callable[[Any, Tensor], Tensor]],
        *,
        precision: Precision = "float32",
    ) -> None:
        if precision not in get_args(Precision):
            known = " or ".join(map(repr, get_args(Precision)))
            raise ValueError(f"`precision` should be {known}, found {precision!r}.")
        if not isinstance(losses, Mapping):
            raise ValueError(
                f"`losses` should be a mapping from tasks to losses, found {type(losses).__name__}."
            )
        self.task_losses = {
            task: as_loss(loss, f"losses['{task}']")
            for task, loss in by_task(losses, "losses").items()
        }
        self.architecture = _architecture(architecture, self.task_losses)
        if set(self.task_losses) != set(self.architecture.tasks):
            raise ValueError(
                f"`losses` should have the architecture's tasks {sorted(self.architecture.tasks)}, "
                f"found {sorted(self.task_losses)}."
            )
        self.precision = precision
        self._graph = GraphCheck()
        self._counted: tuple[weakref.ref[Batch], dict[str, float]] | None = None

    @property
    def tasks(self) -> tuple[str, ...]:
        """The architecture's tasks."""
        return self.architecture.tasks

    @property
    def module(self) -> Architecture:
        """The architecture."""
        return self.architecture

    def described(self) -> dict[str, str]:
        """Class and plain settings of every loss; a function is one, whatever its name."""
        return {task: in_words(loss) for task, loss in self.task_losses.items()}

    def as_batch(self, batch: Any) -> Batch:
        """A batch of any form that `moml.data.as_batch` takes, on the network's device."""
        made = as_batch(batch, self.tasks)
        first = next(self.architecture.parameters(), None)
        here = next(tensors_in(made.inputs), None)
        if first is None or here is None or here.device == first.device:
            return made
        return made.to(first.device)

    def penalty(self) -> Tensor | None:
        """The architecture's regulariser."""
        return self.architecture.penalty()

    def after_step(self, step: int, steps: int) -> None:
        """The architecture's schedules."""
        self.architecture.after_step(step, steps)

    def shared_parameters(self) -> Iterable[Parameter]:
        """As the architecture says.

        Raises:
            ValueError: If a loss has trainable parameters that the architecture does not hold.
        """
        held = set(self.architecture.parameters())
        for task, loss in self.task_losses.items():
            module = getattr(loss, "function", loss)
            if isinstance(module, nn.Module):
                _check_held(task, module, held)
        return self.architecture.shared_parameters()

    def private_parameters(self, task: str) -> Iterable[Parameter]:
        """As the architecture says."""
        return self.architecture.private_parameters(task)

    def features(self, batch: Batch) -> dict[str, Tensor]:
        """The architecture's representation of the inputs, for the tasks that have labels.

        Raises:
            NoLabelsError: If no task has.
        """
        present = self.present(batch)
        if not present:
            raise NoLabelsError(self.tasks)
        try:
            with self._autocast(batch):
                return self.architecture.features(batch.inputs, present)
        except RuntimeError as error:
            check_fit("encoder", "`inputs`", batch.inputs, error)
            raise

    def fan_out(self, features: dict[str, Tensor], batch: Batch) -> dict[str, Tensor] | None:
        """As the architecture says."""
        return self.architecture.fan_out(features, self.present(batch))

    def losses_from(self, features: dict[str, Tensor], batch: Batch) -> Losses:
        """Loss per task that has at least one defined label in the batch."""
        present = self.present(batch)
        try:
            with self._autocast(batch):
                predictions = _predictions(self.architecture, features, present)
        except RuntimeError as error:
            check_fit("heads", "Features", features, error)
            raise
        losses = self._losses(predictions, batch, present)
        if torch.is_grad_enabled():
            self._graph.check(losses, self.architecture)
        return losses

    def losses_at(self, state: Mapping[str, Tensor], batch: Batch, tasks: Sequence[str]) -> Losses:
        """Losses of some tasks with other parameters and buffers in the architecture's place."""
        with substituted(self.architecture, state, isolated=False):
            features = self.architecture.features(batch.inputs, tasks)
            made = _predictions(self.architecture, features, tasks)
        return self._losses(made, batch, tasks)

    def penalty_at(self, state: Mapping[str, Tensor]) -> Tensor | None:
        """The architecture's regulariser with other parameters in its place; after `losses_at`."""
        with substituted(self.architecture, state, isolated=False):
            return self.architecture.penalty()

    def present(self, batch: Batch) -> list[str]:
        """The tasks with at least one defined label in the batch."""
        return list(self.label_counts(batch))

    def label_counts(self, batch: Batch) -> Mapping[str, float]:
        """Number of defined label entries, or total of their weights, of every task present."""
        if self._counted is not None and self._counted[0]() is batch:
            return self._counted[1]
        for name, values in (("targets", batch.targets), ("present", batch.present)):
            for task in values or ():
                if task not in self.task_losses:
                    raise ValueError(
                        f"`batch.{name}` should name tasks among {list(self.tasks)}, "
                        f"found '{task}'."
                    )
        labelled = [task for task in self.tasks if batch.has_labels(task)]
        found = [self._count(task, batch) for task in labelled]
        if any(isinstance(n, Tensor) and n.device.type != "cpu" for n in found):
            numbers = torch.stack([torch.as_tensor(n, device="cpu") if not isinstance(n, Tensor)
                                   else n.float() for n in found]).tolist()  # fmt: skip
        else:
            numbers = [float(n) for n in found]
        counts = {task: n for task, n in zip(labelled, numbers, strict=True) if n > 0}
        self._counted = weakref.ref(batch), counts
        return counts

    def _count(self, task: str, batch: Batch) -> Tensor | float:
        loss, weights = self.task_losses[task], batch.labelled_weights(task)
        target = batch.labelled(task, batch.targets[task])[1]
        try:
            return loss.count(target) if weights is None else (loss.counts(target) * weights).sum()
        except (IndexError, RuntimeError) as error:
            raise ValueError(misfit(task, loss, None, target, error)) from error

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

    def _loss(self, task: str, prediction: Any, batch: Batch) -> Tensor:
        prediction, target = batch.labelled(task, self._full(prediction))
        loss, weights = self.task_losses[task], batch.labelled_weights(task)
        return loss_value(loss, prediction, target, weights, task=task)

    def _full(self, prediction: Any) -> Any:
        if self.precision == "float32":
            return prediction
        if isinstance(prediction, Tensor):
            return prediction.float()
        return mapped(prediction, lambda x: x.float())


def _check_held(task: str, loss: nn.Module, held: set[Parameter]) -> None:
    for name, parameter in loss.named_parameters():
        if parameter.requires_grad and parameter not in held:
            raise ValueError(
                f"`losses['{task}']` should have its trainable parameters in the network, found "
                f"'{name}' outside, which no checkpoint would hold. Make the loss a part of the "
                "network before the optimizer is built: `model.loss = loss`."
            )


def _architecture(given: Any, losses: Mapping[str, Loss]) -> Architecture:
    if isinstance(given, Architecture):
        return given
    if isinstance(given, type):
        raise ValueError(
            f"`architecture` should be a network, found the class {given.__name__}. Make an "
            f"instance: `{given.__name__}(...)`."
        )
    if not isinstance(given, nn.Module):
        raise ValueError(
            f"`architecture` should be a network (a `torch.nn.Module`), found "
            f"{type(given).__name__}."
        )
    return WholeModel(given, losses)


def _predictions(
    architecture: Architecture, features: dict[str, Tensor], tasks: Sequence[str]
) -> Predictions:
    return architecture.decode(features, tasks), architecture.auxiliary(features, tasks)
