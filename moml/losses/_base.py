"""Losses: means over labels that are defined."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import Any, Literal

import torch
from torch import Tensor

from moml._support import checks


class Loss(ABC):
    """A loss of ``(prediction, target)``; undefined target entries do not count.

    A batch in which nothing is defined gives zero, with a zero gradient; a training step leaves
    such a task out, as one without labels.
    """

    logits: Literal["classes", "yes_no"] | None = None
    """How predictions decide: by the largest logit along dimension 1, by the sign of each logit, or
    not at all. Attacks and scores go by it."""

    @abstractmethod
    def __call__(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Mean over all defined target entries of the batch, a scalar."""

    @abstractmethod
    def per_sample(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Mean over the defined target entries of each sample, ``(B,)``."""

    def counts(self, target: Tensor) -> Tensor:
        """What each sample counts for in the mean over a batch, ``(B,)``.

        The number of its defined entries, or the sum of their weights: means over parts of a batch,
        each times its total count, add up to the mean over the batch. One per sample unless a
        subclass knows better.
        """
        return torch.ones(len(target), device=target.device)

    def count(self, target: Tensor) -> Tensor | float:
        """Total of `counts`; zero if nothing is defined."""
        return float(len(target)) if type(self).counts is Loss.counts else self.counts(target).sum()

    def defined(self, target: Tensor) -> Tensor:
        """Entries of a target that are defined, bools shaped like it; all unless overridden."""
        return torch.ones_like(target, dtype=torch.bool)

    def check(self, target: Tensor) -> str | None:
        """What is wrong with this target, as ``expected, found``; ``None`` if nothing is."""
        return None


class EntrywiseLoss(Loss):
    """A loss that is the mean of one number per target entry.

    A subclass says what that number is, and what each entry counts for.
    """

    @abstractmethod
    def entries(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Loss of every entry times its weight, zero where undefined, ``(B, ...)``."""

    @abstractmethod
    def weights(self, target: Tensor) -> Tensor:
        """Weight of every entry, zero where undefined, ``(B, ...)``; bool where all weigh 1."""

    def __call__(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Mean over all defined entries of the batch."""
        return _over(self.entries(prediction, target).sum(), self.weights(target).sum())

    def per_sample(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Mean over the defined entries of each sample."""
        return _over(_rows(self.entries(prediction, target)).sum(1), self.counts(target))

    def counts(self, target: Tensor) -> Tensor:
        """Total weight of each sample's entries."""
        return _rows(self.weights(target)).sum(1)

    def count(self, target: Tensor) -> Tensor | float:
        """Total weight of all entries."""
        return self.weights(target).sum()


def _over(total: Tensor, count: Tensor) -> Tensor:
    """A mean; zero where nothing counts."""
    return total / torch.where(count > 0, count, 1)


def _rows(entries: Tensor) -> Tensor:
    return entries[:, None].flatten(1)  # (B, entries)


def _share(name: str, value: float) -> float:
    return checks.number(name, value, least=0.0, below=1.0)


def _several(name: str, values: Any, what: str) -> Tensor:
    """Numbers as a tensor; a tensor is returned as it is."""
    if not isinstance(values, Tensor):
        return torch.as_tensor(checks.numbers(name, values, what))
    return values


def aligned(prediction: Tensor, target: Tensor) -> Tensor:
    """Prediction in the target's shape, never by broadcasting: ``(B, 1)`` fits ``(B,)``."""
    if prediction.shape == target.shape:
        return prediction
    if prediction.numel() == target.numel() and len(prediction) == len(target):
        return prediction.reshape(target.shape)
    raise ValueError(
        f"`prediction` should have the target's shape {tuple(target.shape)}, "
        f"found {tuple(prediction.shape)}. Check the width of the task's head."
    )


def _defined(target: Tensor, undefined: float) -> Tensor:
    return ~target.isnan() if math.isnan(undefined) else target != undefined


def _not_finite(target: Tensor) -> str | None:
    bad = int((~target.isfinite()).sum())
    return f"finite numbers, found {bad} that are NaN or infinite" if bad else None
