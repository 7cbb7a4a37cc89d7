"""Training losses, each also available per sample (attacks and robustness need that)."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor
from torch.nn import functional


class Loss(ABC):
    """A loss of ``(prediction, target)``; undefined target entries do not count."""

    @abstractmethod
    def __call__(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Mean over all defined target entries of the batch, a scalar."""

    @abstractmethod
    def per_sample(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Mean over the defined target entries of each sample, ``(B,)``."""

    def check(self, target: Tensor) -> str | None:
        """What is wrong with this target, as ``expected, found``; ``None`` if nothing is."""
        return None


class CrossEntropy(Loss):
    """Cross-entropy of class logits ``(B, C, ...)`` against labels ``(B, ...)``.

    Args:
        num_classes: Number of classes ``C``.
        ignore_index: Label that marks an undefined entry.
    """

    def __init__(self, num_classes: int, *, ignore_index: int = -1) -> None:
        self.num_classes, self.ignore_index = num_classes, ignore_index

    def __call__(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Mean negative log-likelihood."""
        return functional.cross_entropy(prediction, target, ignore_index=self.ignore_index)

    def per_sample(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Mean negative log-likelihood of each sample."""
        loss = functional.cross_entropy(
            prediction, target, ignore_index=self.ignore_index, reduction="none"
        ).flatten(1) if target.dim() > 1 else functional.cross_entropy(
            prediction, target, ignore_index=self.ignore_index, reduction="none"
        )[:, None]
        counted = (target != self.ignore_index).reshape(len(target), -1).sum(1)
        return loss.sum(1) / counted.clamp(min=1)

    def check(self, target: Tensor) -> str | None:
        """Labels should be integers in range."""
        if target.is_floating_point():
            return f"integer class labels, found {target.dtype}"
        defined = target[target != self.ignore_index]
        if len(defined) and (defined.min() < 0 or defined.max() >= self.num_classes):
            return (
                f"labels in 0..{self.num_classes - 1}, "
                f"found {int(defined.min())}..{int(defined.max())}"
            )
        return None
