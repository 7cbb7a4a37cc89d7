"""What counts as damage, per kind of task: classes, dense classes, numbers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from moml.attack._base import Bounds
from moml.attack._model_objective import ModelObjective
from moml.attack._one_task import OneTask
from moml.attack.objectives import Compare, cross_entropy, dlr, misclassified, standardized
from moml.attack.victim import Victim
from moml.data import Batch
from moml.losses import CrossEntropy, Loss


@dataclass(frozen=True)
class Judge:
    """One task of a model under attack, with the samples it is judged on.

    Scores are one number a sample: right or wrong for classes, share of right positions for dense
    classes, the loss for everything else.

    Attributes:
        victim: From inputs to this task's output.
        x: Clean inputs ``(B, ...)``.
        target: Their targets.
        loss: The task's training loss.
    """

    victim: Victim
    x: Tensor
    target: Tensor
    loss: Loss

    @property
    def classes(self) -> bool:
        """Whether outputs are class logits."""
        return isinstance(self.loss, CrossEntropy)

    @property
    def dense(self) -> bool:
        """Whether there is a label for every position."""
        return self.classes and self.target.dim() > 1

    @property
    def score_name(self) -> str:
        """What the score is."""
        return "accuracy" if self.classes else "loss"

    def plain(self) -> ModelObjective:
        """The loss that attacks usually raise: cross-entropy, or the task's own."""
        return self._objective(cross_entropy if self.classes else self.loss.per_sample)

    def scale_free(self) -> ModelObjective:
        """The same without a logit scale; the same where there are no logits."""
        return self._objective(standardized(cross_entropy)) if self.classes else self.plain()

    def ratio(self) -> ModelObjective:
        """The difference of logits ratio."""
        return self._objective(dlr)

    def _objective(self, loss: Compare) -> ModelObjective:
        goal = misclassified if self.classes and not self.dense else None
        return self.victim.objective(self.target, loss=loss, success=goal)

    @torch.no_grad()
    def scores(self, x: Tensor) -> Tensor:
        """Score of each sample, ``(B,)`` on the CPU."""
        output = self.victim(x)
        if not self.classes:
            return self.loss.per_sample(output, self.target).double().cpu()
        assert isinstance(self.loss, CrossEntropy)
        known = (self.target != self.loss.ignore_index).reshape(len(x), -1)
        right = (output.argmax(1) == self.target).reshape(len(x), -1) & known
        return (right.sum(1) / known.sum(1).clamp(min=1)).double().cpu()

    def worse(self, first: Tensor, second: Tensor) -> Tensor:
        """The worse of two scores, sample by sample."""
        return torch.minimum(first, second) if self.classes else torch.maximum(first, second)

    def zero_gradients(self) -> float:
        """Share of samples at which the usual loss has a gradient of exactly zero."""
        x = self.x.detach().clone().requires_grad_()
        with torch.enable_grad(), self.victim.held():
            total = self.plain().measure(x).losses.sum()
        (gradient,) = torch.autograd.grad(total, x)
        return float((gradient == 0).reshape(len(x), -1).all(1).double().mean())


def find_judges(
    model: nn.Module,
    loader: Iterable[Batch],
    losses: Mapping[str, Loss],
    bounds: Bounds | None,
    samples: int,
    device: torch.device | str = "cpu",
) -> tuple[dict[str, Judge], bool]:
    """Every task with its first labelled samples, and whether tasks have inputs of their own.

    Raises:
        ValueError: If a task has no labelled sample.
    """
    inputs: dict[str, list[Tensor]] = {task: [] for task in losses}
    targets: dict[str, list[Tensor]] = {task: [] for task in losses}
    own = False
    for batch in loader:
        own = batch.multi_input
        for task in losses:
            if sum(map(len, targets[task])) < samples and batch.has_labels(task):
                whole = batch.inputs_of(task)
                x, y = batch.labelled(task, whole)
                inputs[task].append(x)
                targets[task].append(y)
        if all(sum(map(len, targets[task])) >= samples for task in losses):
            break
    empty = [task for task in losses if not targets[task]]
    if empty:
        raise ValueError(f"`loader` should have labelled samples of every task, none for {empty}.")
    judges = {
        task: Judge(
            Victim(OneTask(model, task, own_inputs=own), bounds=bounds),
            torch.cat(inputs[task])[:samples].to(device),
            torch.cat(targets[task])[:samples].to(device),
            loss,
        )
        for task, loss in losses.items()
    }
    return judges, own
