"""The metrics of dense prediction: segmentation, depth, normals; all over the pixels of a set."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torchmetrics import Metric


def segmentation_metrics(classes: int) -> Callable[[], dict[str, Metric]]:
    """Mean intersection over union and pixel accuracy; label -1 is undefined."""
    return partial(_segmentation, classes)


def depth_metrics() -> dict[str, Metric]:
    """Absolute and relative error; depth 0 is undefined."""
    from moml.metrics import DepthError

    return {"abs_err": DepthError(), "rel_err": DepthError(relative=True)}


def normal_metrics() -> dict[str, Metric]:
    """Mean and median angle, and the shares within 11.25, 22.5 and 30 degrees."""
    from moml.metrics import MeanAngle, MedianAngle, WithinAngle

    within = {f"within_{degrees:g}": WithinAngle(degrees) for degrees in (11.25, 22.5, 30.0)}
    return {"mean": MeanAngle(), "median": MedianAngle(), **within}


def _segmentation(classes: int) -> dict[str, Metric]:
    from torchmetrics.classification import MulticlassAccuracy, MulticlassJaccardIndex

    options = {"ignore_index": -1, "validate_args": False}
    return {
        "mIoU": MulticlassJaccardIndex(classes, **options),
        "pixel_accuracy": MulticlassAccuracy(classes, average="micro", **options),
    }
