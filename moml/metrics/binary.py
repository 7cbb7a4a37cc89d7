"""Answers to yes-or-no questions, given as logits: yes where the logit is positive.

Torchmetrics takes numbers for probabilities when all of a batch happen to lie between 0 and 1.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torchmetrics import Metric


class BinaryF1(Metric):
    """Harmonic mean of precision and recall of the answer yes, over a set.

    It is 0 where nothing is found and nothing is to be found.
    """

    is_differentiable = False
    higher_is_better = True
    full_state_update = False

    def __init__(self) -> None:
        super().__init__()
        self.add_state("hits", torch.tensor(0), dist_reduce_fx="sum")
        self.add_state("answered", torch.tensor(0), dist_reduce_fx="sum")
        self.add_state("true", torch.tensor(0), dist_reduce_fx="sum")

    def update(self, prediction: Tensor, target: Tensor) -> None:
        """Add logits and answers (1 for yes) of equal shape."""
        answered, true = prediction.reshape(target.shape) > 0, target > 0.5
        self.hits += (answered & true).sum()
        self.answered += answered.sum()
        self.true += true.sum()

    def compute(self) -> Tensor:
        """The score."""
        return 2 * self.hits / (self.answered + self.true).clamp(min=1)


class BinaryAccuracy(Metric):
    """Share of right answers."""

    is_differentiable = False
    higher_is_better = True
    full_state_update = False

    def __init__(self) -> None:
        super().__init__()
        self.add_state("right", torch.tensor(0), dist_reduce_fx="sum")
        self.add_state("count", torch.tensor(0), dist_reduce_fx="sum")

    def update(self, prediction: Tensor, target: Tensor) -> None:
        """Add logits and answers (1 for yes) of equal shape."""
        self.right += ((prediction.reshape(target.shape) > 0) == (target > 0.5)).sum()
        self.count += target.numel()

    def compute(self) -> Tensor:
        """The share; ``nan`` if there was no answer."""
        return self.right / self.count
