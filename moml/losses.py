"""Training losses, each also available per sample (attacks and robustness need that)."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

import torch
from torch import Tensor
from torch.nn import functional

__all__ = [
    "BinaryCrossEntropy",
    "CosineDistance",
    "CrossEntropy",
    "EntrywiseLoss",
    "Loss",
    "MaskedL1",
    "MeanSquaredError",
]


class Loss(ABC):
    """A loss of ``(prediction, target)``; undefined target entries do not count.

    A batch in which nothing is defined gives zero, with a zero gradient.
    """

    @abstractmethod
    def __call__(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Mean over all defined target entries of the batch, a scalar."""

    @abstractmethod
    def per_sample(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Mean over the defined target entries of each sample, ``(B,)``."""

    def check(self, target: Tensor) -> str | None:
        """What is wrong with this target, as ``expected, found``; ``None`` if nothing is."""
        return None


class EntrywiseLoss(Loss):
    """A loss that is the mean of one number per target entry.

    A subclass says what that number is, and which entries are defined.
    """

    @abstractmethod
    def entries(self, prediction: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """Loss of every entry, zero where undefined, and whether it is defined, ``(B, ...)``."""

    def __call__(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Mean over all defined entries of the batch."""
        loss, defined = self.entries(prediction, target)
        return loss.sum() / defined.sum().clamp(min=1)

    def per_sample(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Mean over the defined entries of each sample."""
        loss, defined = self.entries(prediction, target)
        rows, counted = loss[:, None].flatten(1), defined[:, None].flatten(1)  # (B, entries)
        return rows.sum(1) / counted.sum(1).clamp(min=1)


class CrossEntropy(EntrywiseLoss):
    """Cross-entropy of class logits ``(B, C, ...)`` against labels ``(B, ...)``.

    Args:
        num_classes: Number of classes ``C``.
        ignore_index: Label that marks an undefined entry.
    """

    def __init__(self, num_classes: int, *, ignore_index: int = -1) -> None:
        self.num_classes, self.ignore_index = num_classes, ignore_index

    def entries(self, prediction: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """Negative log-likelihood of every label."""
        loss = functional.cross_entropy(
            prediction, target, ignore_index=self.ignore_index, reduction="none"
        )
        return loss, target != self.ignore_index

    def __call__(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Mean negative log-likelihood, summed inside the kernel."""
        total = functional.cross_entropy(
            prediction, target, ignore_index=self.ignore_index, reduction="sum"
        )
        return total / (target != self.ignore_index).sum().clamp(min=1)

    def check(self, target: Tensor) -> str | None:
        """Labels should be integers in range."""
        if target.is_floating_point():
            return f"integer class labels, found {target.dtype}"
        defined = target[target != self.ignore_index]
        if defined.numel() and (defined.min() < 0 or defined.max() >= self.num_classes):
            return (
                f"labels in 0..{self.num_classes - 1}, "
                f"found {int(defined.min())}..{int(defined.max())}"
            )
        return None


class BinaryCrossEntropy(EntrywiseLoss):
    """Cross-entropy of logits against probabilities or 0/1 labels of the same shape.

    Args:
        undefined: Target value that marks an undefined entry.
    """

    def __init__(self, *, undefined: float = -1.0) -> None:
        self.undefined = undefined

    def entries(self, prediction: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """Negative log-likelihood of every label."""
        prediction, defined = _aligned(prediction, target), _defined(target, self.undefined)
        known = torch.where(defined, target, 0).to(prediction.dtype)
        loss = functional.binary_cross_entropy_with_logits(prediction, known, reduction="none")
        return torch.where(defined, loss, 0), defined

    def check(self, target: Tensor) -> str | None:
        """Labels should lie between 0 and 1."""
        known = target[_defined(target, self.undefined)]
        if not ((known >= 0) & (known <= 1)).all():
            return f"labels between 0 and 1, found {float(known.min()):g}..{float(known.max()):g}"
        return None


class MeanSquaredError(EntrywiseLoss):
    """Squared error against real numbers, every one of them defined."""

    def entries(self, prediction: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """Squared error of every number."""
        prediction = _aligned(prediction, target)
        loss = functional.mse_loss(prediction, target.to(prediction.dtype), reduction="none")
        return loss, torch.ones_like(target, dtype=torch.bool)

    def __call__(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Mean squared error."""
        if target.numel() == 0:
            return prediction.sum()  # nothing to sum: 0, still part of the graph
        prediction = _aligned(prediction, target)
        return functional.mse_loss(prediction, target.to(prediction.dtype))

    def check(self, target: Tensor) -> str | None:
        """Numbers should be finite."""
        return _not_finite(target)


class MaskedL1(EntrywiseLoss):
    """Absolute error that skips undefined entries, such as depth where nothing was measured.

    Args:
        undefined: Target value that marks an undefined entry; may be ``nan``.
    """

    def __init__(self, *, undefined: float = 0.0) -> None:
        self.undefined = undefined

    def entries(self, prediction: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """Absolute error of every number."""
        prediction, defined = _aligned(prediction, target), _defined(target, self.undefined)
        known = torch.where(defined, target, 0).to(prediction.dtype)
        return torch.where(defined, (prediction - known).abs(), 0), defined

    def check(self, target: Tensor) -> str | None:
        """Defined numbers should be finite."""
        return _not_finite(target[_defined(target, self.undefined)])


class CosineDistance(EntrywiseLoss):
    """One minus the cosine between vectors along dimension 1, such as normals ``(B, 3, H, W)``.

    A zero target vector is undefined. Every component is looked at: a defined normal may well have
    components that sum to zero.
    """

    def entries(self, prediction: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """Cosine distance of every vector, ``(B, ...)`` without dimension 1."""
        prediction, defined = _aligned(prediction, target), (target != 0).any(1)
        target = target.to(prediction.dtype)
        squares = (prediction**2).sum(1) * (target**2).sum(1)  # (B, ...)
        cosine = (prediction * target).sum(1) * squares.clamp(min=1e-12).rsqrt()
        return torch.where(defined, 1 - cosine, 0), defined

    def check(self, target: Tensor) -> str | None:
        """Vectors should have finite components along dimension 1."""
        if target.dim() < 2:
            return f"vectors along dimension 1, found shape {tuple(target.shape)}"
        return _not_finite(target)


def _aligned(prediction: Tensor, target: Tensor) -> Tensor:
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
