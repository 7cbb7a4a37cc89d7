"""Batches of two levels side by side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from moml._support import checks
from moml.data.bilevel_batch import BilevelBatch
from moml.data.loader import BatchLoader


class TwoLevels(BatchLoader[BilevelBatch]):
    """One batch per lower step and one for the upper objectives, each loader at its own length.

    Args:
        lower: Loaders of the lower steps' batches, in order; a loader may occur twice, which gives
            the same batch twice.
        upper: Loader of the upper objectives' batches.
    """

    def __init__(self, lower: Sequence[BatchLoader[Any]], upper: BatchLoader[Any]) -> None:
        what = "a list of loaders such as `moml.data.Loader`"
        for loader in checks.instance("lower", lower, (list, tuple), what):
            checks.instance("lower", loader, BatchLoader, what)
        checks.instance("upper", upper, BatchLoader, "a loader such as `moml.data.Loader`")
        if not lower:
            raise ValueError("`lower` should hold at least one loader, found none.")
        self.lower, self.upper = tuple(lower), upper

    @property
    def batches_per_epoch(self) -> int:
        """Batches of the longest lower loader."""
        return max(loader.batches_per_epoch for loader in self.lower)

    def batch(self, number: int) -> BilevelBatch:
        """The levels' own batches with this number."""
        lower = tuple(loader.batch(number) for loader in self.lower)
        return BilevelBatch(lower, self.upper.batch(number))
