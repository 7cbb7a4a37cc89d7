"""Metrics that torchmetrics does not have, and the improvement over references.

Metric classes are loaded when first asked for, so that importing moml does not import torchmetrics.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from moml.metrics.improvement import delta_percent

if TYPE_CHECKING:
    from moml.metrics.absolute_error import AbsoluteError
    from moml.metrics.binary import BinaryAccuracy, BinaryF1
    from moml.metrics.depth import DepthError
    from moml.metrics.normals import MeanAngle, MedianAngle, WithinAngle

__all__ = [
    "AbsoluteError",
    "BinaryAccuracy",
    "BinaryF1",
    "DepthError",
    "MeanAngle",
    "MedianAngle",
    "WithinAngle",
    "delta_percent",
]

_MODULES = {
    "AbsoluteError": "absolute_error",
    "BinaryAccuracy": "binary",
    "BinaryF1": "binary",
    "DepthError": "depth",
    "MeanAngle": "normals",
    "MedianAngle": "normals",
    "WithinAngle": "normals",
}


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return getattr(import_module(f"moml.metrics.{_MODULES[name]}"), name)
    raise AttributeError(f"module 'moml.metrics' has no attribute '{name}'")
