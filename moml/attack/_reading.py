"""Losses and goals of logits, for the targets that a task's training loss takes."""

from __future__ import annotations

import torch
from torch import Tensor

from moml.attack._labels import answers
from moml.attack.objectives import Compare, yes_no
from moml.losses import Loss


def reading(compare: Compare, loss: Loss) -> Compare:
    """A loss or goal of logits that knows this task's undefined labels and yes/no answers.

    Args:
        compare: Function of logits and labels, such as `misclassified`.
        loss: The task's training loss, on logits.
    """
    inner = yes_no(compare) if loss.logits == "yes_no" else compare

    def read(output: Tensor, target: Tensor) -> Tensor:
        return inner(output, classes(target, loss))

    return read


def classes(target: Tensor, loss: Loss) -> Tensor:
    """Targets as classes or answers, negative where undefined."""
    if loss.logits == "yes_no":
        target = answers(torch.where(loss.defined(target), target, -1))
        if target[:1].numel() == 1:
            return target.reshape(len(target))  # (B, 1): one answer a sample, not a position
        return target
    return torch.where(loss.defined(target), target, -1)
