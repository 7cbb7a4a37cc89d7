"""Cross-entropy over classes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from moml._support import checks
from moml.losses._base import EntrywiseLoss, _over, _several, _share

_LABELS = (torch.int64, torch.uint8)  # what PyTorch's cross-entropy takes as class labels


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


def _ignore_hint(smallest: int) -> str:
    if smallest >= 0:
        return ""
    return f"; if {smallest} marks undefined labels, pass `ignore_index={smallest}`"


def _check_weights(name: str, weights: Tensor) -> None:
    if not ((weights >= 0) & weights.isfinite()).all() or not weights.any():
        raise ValueError(
            f"`{name}` should be finite and at least 0, and not all 0, found {weights.tolist()}."
        )
