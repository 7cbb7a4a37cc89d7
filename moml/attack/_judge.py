"""What counts as damage, per kind of task: classes, dense classes, numbers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from moml.attack._base import Bounds
from moml.attack._model_objective import ModelObjective
from moml.attack._one_task import OneTask
from moml.attack._reading import classes, reading
from moml.attack._region import check_tensor
from moml.attack.objectives import (
    Compare,
    cross_entropy,
    dlr,
    misclassified,
    share_right,
    standardized,
)
from moml.attack.victim import Victim
from moml.data import Batch
from moml.losses import Loss


@dataclass(frozen=True)
class Judge:
    """One task of a model under attack, with the samples it is judged on.

    Scores are one number a sample: right or wrong for classes and yes/no answers, share of right
    positions where there are several, the loss for everything else.

    Attributes:
        victim: From inputs to this task's output.
        x: Clean inputs ``(B, ...)``.
        target: Their targets.
        loss: The task's training loss.
        passes: Forward passes that a score is the mean of; several for random models.
    """

    victim: Victim
    x: Tensor
    target: Tensor
    loss: Loss
    passes: int = 1

    @property
    def classes(self) -> bool:
        """Whether outputs are logits, of classes or of yes/no answers."""
        return self.loss.logits is not None

    @property
    def count(self) -> int:
        """Number of classes, 2 for yes/no answers."""
        return 2 if self.loss.logits == "yes_no" else int(self.victim(self.x[:1]).shape[1])

    @property
    def dense(self) -> bool:
        """Whether there are several labels a sample."""
        return self.classes and self.target[:1].numel() > 1

    @property
    def score_name(self) -> str:
        """What the score is."""
        return "accuracy" if self.classes else "loss"

    def plain(self) -> ModelObjective:
        """The loss that attacks usually raise: cross-entropy, or the task's own."""
        return self.objective(cross_entropy)

    def scale_free(self) -> ModelObjective:
        """The same without a logit scale; the same where there are no logits."""
        return self.objective(standardized(cross_entropy))

    def ratio(self) -> ModelObjective:
        """The difference of logits ratio."""
        return self.objective(dlr)

    def objective(self, loss: Compare) -> ModelObjective:
        """A loss of logits, with wrong predictions as the goal; the task's own without logits."""
        if not self.classes:
            return self.victim.objective(self.target, loss=self.loss.per_sample)
        goal = None if self.dense else self.read(misclassified)
        return self.victim.objective(self.target, loss=self.read(loss), success=goal)

    @property
    def labels(self) -> Tensor:
        """Right classes or answers, negative where undefined."""
        return classes(self.target, self.loss)

    def read(self, compare: Compare) -> Compare:
        """A loss or goal of logits for the task's own kind of targets."""
        return reading(compare, self.loss)

    @torch.no_grad()
    def scores(self, x: Tensor) -> Tensor:
        """Score of each sample, ``(B,)`` on the CPU."""
        score = self.read(share_right) if self.classes else self.loss.per_sample
        each = [score(self.victim(x), self.target) for _ in range(self.passes)]
        return torch.stack(each).double().mean(0).cpu()

    def repeated(self, passes: int, *, looks: int = 64) -> Judge:
        """The same judge, with several passes to every score if the model is random.

        Args:
            passes: How many.
            looks: Samples to find out with.
        """
        return replace(self, passes=passes) if self.victim.is_random(self.x[:looks]) else self

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
        ValueError: If a task has no labelled sample, or inputs are no tensor.
    """
    inputs: dict[str, list[Tensor]] = {task: [] for task in losses}
    targets: dict[str, list[Tensor]] = {task: [] for task in losses}
    own = False
    for batch in loader:
        own = batch.multi_input
        for task in losses:
            if sum(map(len, targets[task])) < samples and batch.has_labels(task):
                whole = batch.inputs_of(task)
                check_tensor(whole)
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
