"""Cross-entropy of yes/no labels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from moml._support import checks
from moml.losses._base import EntrywiseLoss, _defined, _several, _share, aligned


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
