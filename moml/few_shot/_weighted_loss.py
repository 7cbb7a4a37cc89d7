"""A loss of samples that do not count alike."""

from __future__ import annotations

from torch import Tensor

from moml.losses import Loss


class WeightedLoss(Loss):
    """The mean of a loss over samples with weights, as `moml.MultiTask` takes it.

    Args:
        loss: The loss.
        weights: Weight of every sample of the batch it is used on, ``(B,)``.
    """

    def __init__(self, loss: Loss, weights: Tensor) -> None:
        self.loss, self.weights = loss, weights
        self.logits = loss.logits

    def __call__(self, prediction: Tensor, target: Tensor) -> Tensor:
        """The weighted mean."""
        shares = self.counts(target)
        return (self.per_sample(prediction, target) * shares).sum() / shares.sum()

    def per_sample(self, prediction: Tensor, target: Tensor) -> Tensor:
        """The loss of each sample, without its weight."""
        return self.loss.per_sample(prediction, target)

    def counts(self, target: Tensor) -> Tensor:
        """What each sample counts for, times its weight."""
        return self.loss.counts(target) * self.weights

    def defined(self, target: Tensor) -> Tensor:
        """As the loss says."""
        return self.loss.defined(target)

    def check(self, target: Tensor) -> str | None:
        """As the loss says."""
        return self.loss.check(target)
