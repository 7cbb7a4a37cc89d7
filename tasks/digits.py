"""Handwritten digits at their own size: the smallest real images there are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import nn

from moml.backbone import LinearHead, SmallCNN
from moml.data import Defaults, Source, Suite, TaskSpec, TensorSource
from moml.data.suite import Split
from moml.losses import CrossEntropy
from tasks._digit_images import digits, items

if TYPE_CHECKING:
    from torchmetrics import Metric


TRAIN = 1000  # of the 1,300 images that are not for testing


class Digits(Suite):
    """Which of ten digits it is.

    1,000 images for training, 300 for validation, 497 for testing, of shape ``(1, 8, 8)`` in
    [0, 1]. Accuracy: higher is better. For architecture search, which needs many small trainings.

    Args:
        seed: Seed of the split.
    """

    defaults = Defaults(steps=500, batch_size=64, learning_rate=1e-3, eval_every=100)
    bounds = (0.0, 1.0)

    def __init__(self, *, seed: int = 0) -> None:
        self.seed = seed

    @property
    def tasks(self) -> Mapping[str, TaskSpec]:
        """One classification task."""
        return {"digit": TaskSpec(CrossEntropy(10), _metrics, main="accuracy")}

    def sources(self, split: Split) -> Source:
        """The images of this split."""
        images, labels = digits()
        chosen = items(split, self.seed)
        if split != "test":  # selection among many architectures needs more than 100 images
            both = torch.cat([items("train", self.seed), items("val", self.seed)])
            chosen = both[:TRAIN] if split == "train" else both[TRAIN:]
        return TensorSource(images[chosen][:, None], {"digit": labels[chosen]})

    def encoder(self) -> nn.Module:
        """A small convolutional network."""
        return SmallCNN((8, 8))

    def head(self, task: str, in_features: int) -> nn.Module:
        """A linear classifier."""
        return LinearHead(in_features, 10)


def _metrics() -> dict[str, Metric]:
    from torchmetrics.classification import MulticlassAccuracy

    return {"accuracy": MulticlassAccuracy(10, average="micro", validate_args=False)}
