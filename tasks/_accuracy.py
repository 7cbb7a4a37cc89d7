"""The metric of classification."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from moml.data import TaskSpec
from moml.losses import CrossEntropy

if TYPE_CHECKING:
    from torchmetrics import Metric


def classification(classes: int) -> TaskSpec:
    """Cross-entropy, and the share of right answers."""
    return TaskSpec(CrossEntropy(classes), accuracy(classes), main="accuracy")


def accuracy(classes: int) -> Callable[[], dict[str, Metric]]:
    """Makes the share of right answers."""
    return partial(_metrics, classes)


def _metrics(classes: int) -> dict[str, Metric]:
    from torchmetrics.classification import MulticlassAccuracy

    return {"accuracy": MulticlassAccuracy(classes, average="micro", validate_args=False)}
