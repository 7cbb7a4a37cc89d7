"""Training losses, each also available per sample (attacks and robustness need that)."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional

from moml._support import checks

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


class CrossEntropy(EntrywiseLoss):
    """Cross-entropy of class logits ``(B, C, ...)`` against labels ``(B, ...)``.

    With class weights the mean is the weighted one, as in `torch.nn.CrossEntropyLoss`.

    Args:
        num_classes: Number of classes ``C``.
        ignore_index: Label that marks an undefined entry.
        class_weights: Weight of every class, ``(C,)``.
        label_smoothing: Share of a label that is spread evenly over all classes.

    Raises:
        ValueError: If the number of classes is no positive integer, the weights are not one
            finite number of at least 0 per class, or the smoothing is out of range.
    """

    logits: Literal["classes", "yes_no"] | None = "classes"

    def __init__(
        self,
        num_classes: int,
        *,
        ignore_index: int = -1,
        class_weights: Sequence[float] | Tensor | None = None,
        label_smoothing: float = 0.0,
    ) -> None:
        self.num_classes = checks.whole("num_classes", num_classes, least=1)
        self.ignore_index = checks.whole("ignore_index", ignore_index)
        self.class_weights = None
        if class_weights is not None:
            self.class_weights = _several("class_weights", class_weights, "one number per class")
        if self.class_weights is not None and self.class_weights.shape != (num_classes,):
            raise ValueError(
                f"`class_weights` should have one entry per class ({num_classes}), found shape "
                f"{tuple(self.class_weights.shape)}."
            )
        if self.class_weights is not None:
            _check_weights("class_weights", self.class_weights)
        self.label_smoothing = _share("label_smoothing", label_smoothing)

    def entries(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Negative log-likelihood of every label."""
        return self._loss(prediction, target, "none")

    def defined(self, target: Tensor) -> Tensor:
        """Labels other than ``ignore_index``."""
        return target != self.ignore_index

    def weights(self, target: Tensor) -> Tensor:
        """Weight of every label's class."""
        defined = self.defined(target)
        if self.class_weights is None:
            return defined
        table = self.class_weights.to(target.device)
        return torch.where(defined, table[torch.where(defined, target, 0)], 0)

    def __call__(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Mean negative log-likelihood, summed inside the kernel."""
        return _over(self._loss(prediction, target, "sum"), self.weights(target).sum())

    def check(self, target: Tensor) -> str | None:
        """Labels should be integers in range."""
        if target.is_floating_point():
            return (
                f"integer class labels, found {target.dtype} of shape {tuple(target.shape)}: take "
                "`argmax(1)` of one-hot rows, or use `torch.nn.CrossEntropyLoss()` for "
                "probabilities"
            )
        defined = target[target != self.ignore_index]
        if defined.numel() and (defined.min() < 0 or defined.max() >= self.num_classes):
            return (
                f"labels in 0..{self.num_classes - 1}, "
                f"found {int(defined.min())}..{int(defined.max())}"
                + _ignore_hint(int(defined.min()))
            )
        return None

    def _loss(self, prediction: Tensor, target: Tensor, reduction: str) -> Tensor:
        if target.is_floating_point():  # taken for probabilities by PyTorch
            raise ValueError(f"`target` should hold {self.check(target)}.")
        classes = prediction.shape[1] if prediction.dim() > 1 else self.num_classes
        if classes > self.num_classes:
            raise ValueError(
                f"`prediction` should have one logit per class ({self.num_classes}), found "
                f"{classes}. Check the width of the task's head and `CrossEntropy(num_classes)`."
            )
        weights = self.class_weights
        return functional.cross_entropy(
            prediction,
            target if target.dtype in _LABELS else target.long(),
            weight=None if weights is None else weights.to(prediction),
            ignore_index=self.ignore_index,
            reduction=reduction,
            label_smoothing=self.label_smoothing,
        )


class BinaryCrossEntropy(EntrywiseLoss):
    """Cross-entropy of logits against probabilities or 0/1 labels of the same shape.

    Args:
        undefined: Target value that marks an undefined entry.
        positive_weight: Factor on the loss of positive labels, one number or one per label; the
            mean stays that over entries, as in `torch.nn.BCEWithLogitsLoss`.
        label_smoothing: Share of a label that is spread evenly over yes and no.
    """

    logits: Literal["classes", "yes_no"] | None = "yes_no"

    def __init__(
        self,
        *,
        undefined: float = -1.0,
        positive_weight: float | Sequence[float] | Tensor | None = None,
        label_smoothing: float = 0.0,
    ) -> None:
        self.undefined = checks.number("undefined", undefined, infinite=True, nan=True)
        self.positive_weight = None
        if isinstance(positive_weight, (bool, int, float, str)):
            weight = checks.number("positive_weight", positive_weight, least=0.0)
            self.positive_weight = torch.as_tensor(weight)
        elif positive_weight is not None:
            what = "a number, or one per label"
            self.positive_weight = _several("positive_weight", positive_weight, what)
        self.label_smoothing = _share("label_smoothing", label_smoothing)

    def entries(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Negative log-likelihood of every label."""
        prediction, defined = aligned(prediction, target), self.weights(target)
        known = torch.where(defined, target, 0).to(prediction.dtype)
        if self.label_smoothing:
            known = known * (1 - self.label_smoothing) + self.label_smoothing / 2
        factor = self.positive_weight
        loss = functional.binary_cross_entropy_with_logits(
            prediction,
            known,
            reduction="none",
            pos_weight=None if factor is None else factor.to(prediction),
        )
        return torch.where(defined, loss, 0)

    def defined(self, target: Tensor) -> Tensor:
        """Labels other than the mark."""
        return _defined(target, self.undefined)

    def weights(self, target: Tensor) -> Tensor:
        """Which labels are defined."""
        return _defined(target, self.undefined)

    def check(self, target: Tensor) -> str | None:
        """Labels should lie between 0 and 1."""
        known = target[_defined(target, self.undefined)]
        if not ((known >= 0) & (known <= 1)).all():
            return f"labels between 0 and 1, found {float(known.min()):g}..{float(known.max()):g}"
        return None


class MeanSquaredError(EntrywiseLoss):
    """Squared error against real numbers.

    Args:
        undefined: Target value that marks an undefined entry, may be ``nan``; ``None``: every entry
            is defined.
    """

    def __init__(self, *, undefined: float | None = None) -> None:
        self.undefined = undefined
        if undefined is not None:
            checks.number("undefined", undefined, infinite=True, nan=True)

    def entries(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Squared error of every number."""
        prediction = aligned(prediction, target)
        if self.undefined is None:
            return functional.mse_loss(prediction, target.to(prediction.dtype), reduction="none")
        defined = self.weights(target)
        known = torch.where(defined, target, 0).to(prediction.dtype)
        return torch.where(defined, (prediction - known).square(), 0)

    def defined(self, target: Tensor) -> Tensor:
        """Numbers other than the mark."""
        if self.undefined is None:
            return super().defined(target)
        return _defined(target, self.undefined)

    def weights(self, target: Tensor) -> Tensor:
        """Which numbers are defined."""
        if self.undefined is None:
            return torch.ones_like(target, dtype=torch.bool)
        return _defined(target, self.undefined)

    def count(self, target: Tensor) -> Tensor | float:
        """Number of defined entries."""
        return float(target.numel()) if self.undefined is None else super().count(target)

    def __call__(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Mean squared error."""
        if target.numel() == 0:
            return prediction.sum()  # nothing to sum: 0, still part of the graph
        if self.undefined is not None:
            return super().__call__(prediction, target)
        prediction = aligned(prediction, target)
        return functional.mse_loss(prediction, target.to(prediction.dtype))

    def check(self, target: Tensor) -> str | None:
        """Defined numbers should be finite."""
        if self.undefined is not None:
            target = target[_defined(target, self.undefined)]
        return _not_finite(target)


class MaskedL1(EntrywiseLoss):
    """Absolute error that skips undefined entries, such as depth where nothing was measured.

    Args:
        undefined: Target value that marks an undefined entry; may be ``nan``.
    """

    def __init__(self, *, undefined: float = 0.0) -> None:
        self.undefined = checks.number("undefined", undefined, infinite=True, nan=True)

    def entries(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Absolute error of every number."""
        prediction, defined = aligned(prediction, target), self.weights(target)
        known = torch.where(defined, target, 0).to(prediction.dtype)
        return torch.where(defined, (prediction - known).abs(), 0)

    def defined(self, target: Tensor) -> Tensor:
        """Numbers other than the mark."""
        return _defined(target, self.undefined)

    def weights(self, target: Tensor) -> Tensor:
        """Which numbers are defined."""
        return _defined(target, self.undefined)

    def check(self, target: Tensor) -> str | None:
        """Defined numbers should be finite."""
        return _not_finite(target[_defined(target, self.undefined)])


class CosineDistance(EntrywiseLoss):
    """One minus the cosine between vectors along dimension 1, such as normals ``(B, 3, H, W)``.

    A zero target vector is undefined. Every component is looked at: a defined normal may well have
    components that sum to zero.
    """

    def entries(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Cosine distance of every vector, ``(B, ...)`` without dimension 1."""
        prediction, defined = aligned(prediction, target), self.weights(target)
        target = target.to(prediction.dtype)
        squares = (prediction**2).sum(1) * (target**2).sum(1)  # (B, ...)
        cosine = (prediction * target).sum(1) * squares.clamp(min=1e-12).rsqrt()
        return torch.where(defined, 1 - cosine, 0)

    def weights(self, target: Tensor) -> Tensor:
        """Which vectors are not zero."""
        return (target != 0).any(1)

    def check(self, target: Tensor) -> str | None:
        """Vectors should have finite components along dimension 1."""
        if target.dim() < 2:
            return f"vectors along dimension 1, found shape {tuple(target.shape)}"
        return _not_finite(target)


_LABELS = (torch.int64, torch.uint8)  # what PyTorch's cross-entropy takes as class labels


def _over(total: Tensor, count: Tensor) -> Tensor:
    """A mean; zero where nothing counts."""
    return total / torch.where(count > 0, count, 1)


def _rows(entries: Tensor) -> Tensor:
    return entries[:, None].flatten(1)  # (B, entries)


def _ignore_hint(smallest: int) -> str:
    if smallest >= 0:
        return ""
    return f"; if {smallest} marks undefined labels, pass `ignore_index={smallest}`"


def _check_weights(name: str, weights: Tensor) -> None:
    if not ((weights >= 0) & weights.isfinite()).all() or not weights.any():
        raise ValueError(
            f"`{name}` should be finite and at least 0, and not all 0, found {weights.tolist()}."
        )


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
