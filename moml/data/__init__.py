"""Batches, sources of samples, loaders and benchmark suites."""

from moml.data.batch import Batch
from moml.data.bilevel_batch import BilevelBatch
from moml.data.loader import BatchLoader, Loader, MultiLoader
from moml.data.source import DatasetSource, Source, TensorSource
from moml.data.stream import Stream
from moml.data.suite import Defaults, Suite, TaskSpec

__all__ = [
    "Batch",
    "BatchLoader",
    "BilevelBatch",
    "DatasetSource",
    "Defaults",
    "Loader",
    "MultiLoader",
    "Source",
    "Stream",
    "Suite",
    "TaskSpec",
    "TensorSource",
]
