"""Batches read ahead by threads while the step before them is computed."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

from moml._support import checks
from moml.data.loader import AnyBatch, BatchLoader

AHEAD = 2  # batches per thread


class Prefetched(BatchLoader[AnyBatch]):
    """The same batches by number, the next ones under way.

    A batch is a function of its number alone, so who reads it and when changes nothing. Decoding
    pictures and reading files wait for the disk or leave Python; that is what threads are good at.

    Args:
        loader: The batches.
        workers: Threads, at least 1.
    """

    def __init__(self, loader: BatchLoader[AnyBatch], workers: int) -> None:
        checks.instance("loader", loader, BatchLoader, "a loader such as `moml.data.Loader`")
        checks.whole("workers", workers, least=1)
        self.loader, self.ahead = loader, AHEAD * workers
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="moml-batches")
        self._coming: dict[int, Future[AnyBatch]] = {}

    @property
    def batches_per_epoch(self) -> int:
        """As of the loader."""
        return self.loader.batches_per_epoch

    def batch(self, number: int) -> AnyBatch:
        """The batch with this number; those that follow are asked for."""
        return self._take(number, number + 1 + self.ahead)

    def __iter__(self) -> Iterator[AnyBatch]:
        count = self.batches_per_epoch
        return (self._take(n, min(n + 1 + self.ahead, count)) for n in range(count))

    def _take(self, number: int, end: int) -> AnyBatch:
        for skipped in [n for n in self._coming if not number <= n < end]:
            self._coming.pop(skipped).cancel()
        for n in range(number, end):
            if n not in self._coming:
                self._coming[n] = self._pool.submit(self.loader.batch, n)
        return self._coming.pop(number).result()


def prefetched(loader: BatchLoader[AnyBatch], workers: int) -> BatchLoader[AnyBatch]:
    """The loader with its batches read ahead, or as it is without any ``workers``.

    Raises:
        ValueError: If the number is negative.
    """
    checks.whole("workers", workers, least=0)
    return Prefetched(loader, workers) if workers else loader
