"""What robust problems have in common: a batch, its perturbed twin, and one set of parameters."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor

from moml.architecture import Architecture
from moml.attack import Attack, Victim
from moml.attack._one_task import OneTask
from moml.attack.objectives import Compare
from moml.data import Batch, TaskInputs
from moml.losses import Loss
from moml.multitask import MultiTask
from moml.problem import AroundProblem, FactoredProblem

CLEAN, ROBUST = "clean/", "robust/"


class Perturbing(AroundProblem, FactoredProblem):
    """Runs the network on a batch and on its perturbed twin.

    The attack sees the network in evaluation mode, so making the twin moves no running statistic;
    the network then sees clean and perturbed inputs in separate passes.

    Args:
        architecture: The network.
        losses: Training loss per task.
        attack: Makes the twin; its bounds are those of the data.
    """

    def __init__(
        self, architecture: Architecture, losses: Mapping[str, Loss], attack: Attack
    ) -> None:
        self.clean = MultiTask(architecture, losses)
        super().__init__(self.clean)
        self.attack = attack

    @property
    def module(self) -> Architecture:
        """The network."""
        return self.clean.architecture

    def perturbed(
        self, batch: Batch, losses: Mapping[str, Compare], targets: Mapping[str, Tensor]
    ) -> Batch:
        """The batch with inputs at which the sum of these losses is high, given these targets.

        With inputs per task each task's are perturbed against its own loss.
        """
        model = self.clean.architecture
        if not isinstance(batch.inputs, TaskInputs):
            goal = Victim(model, bounds=self.attack.bounds).objective(targets, loss=losses)
            return replace(batch, inputs=self.attack.perturb(goal, batch.inputs))
        inputs = TaskInputs(batch.inputs)
        for task, loss in losses.items():
            victim = Victim(OneTask(model, task, own_inputs=True), bounds=self.attack.bounds)
            goal = victim.objective(targets[task], loss=loss)
            inputs[task] = self.attack.perturb(goal, inputs[task])
        return replace(batch, inputs=inputs)


def labelled_losses(losses: Mapping[str, Loss], batch: Batch) -> dict[str, Compare]:
    """Per-sample losses of the tasks in the batch; a sample without a label counts zero."""
    return {
        task: _masked(loss, None if batch.present is None else batch.present.get(task))
        for task, loss in losses.items()
        if batch.has_labels(task)
    }


def _masked(loss: Loss, present: Tensor | None) -> Compare:
    if present is None:
        return loss.per_sample

    def per_sample(prediction: Tensor, target: Tensor) -> Tensor:
        values = prediction.new_zeros(len(prediction))
        values[present] = loss.per_sample(prediction[present], target[present])
        return values

    return per_sample


def prefixed(prefix: str, features: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The same tensors under names of their own."""
    return {prefix + name: value for name, value in features.items()}


def unprefixed(prefix: str, features: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Those of the tensors that have the prefix, without it."""
    return {n.removeprefix(prefix): v for n, v in features.items() if n.startswith(prefix)}


def detached(predictions: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The same predictions as constants."""
    return {task: torch.as_tensor(p).detach() for task, p in predictions.items()}
