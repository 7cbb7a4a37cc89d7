"""Loaders whose order is a function of ``(seed, epoch)``, so that a position is two integers."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor

from moml._support import checks
from moml._support.task_names import by_task
from moml.data.batch import Batch
from moml.data.inputs import TaskInputs
from moml.data.source import Source

AnyBatch = TypeVar("AnyBatch", covariant=True)


class BatchLoader(ABC, Generic[AnyBatch]):
    """Batches by number: ``batch(i)`` is the i-th of the endless sequence, whatever came before."""

    @property
    @abstractmethod
    def batches_per_epoch(self) -> int:
        """Number of batches after which `epoch` grows by one."""

    @abstractmethod
    def batch(self, number: int) -> AnyBatch:
        """The batch with this number, counted from the first batch of epoch 0."""

    def part(self, index: int, count: int) -> BatchLoader[AnyBatch]:
        """The same batches, of which each of several processes reads a part.

        Args:
            index: Which part.
            count: Into how many parts every batch is cut.

        Raises:
            ValueError: If the loader has no parts.
        """
        raise ValueError(
            f"Batches should be in parts for several processes, found {type(self).__name__}. "
            "Train in one process."
        )

    def __iter__(self) -> Iterator[AnyBatch]:
        return (self.batch(number) for number in range(self.batches_per_epoch))

    def __len__(self) -> int:
        return self.batches_per_epoch


class Loader(BatchLoader[Batch]):
    """Shuffled (or sequential) batches of one source.

    Args:
        source: The samples.
        batch_size: Samples per batch.
        shuffle: A new order every epoch, drawn from ``(seed, epoch)``, and samples as training
            sees them (`Source.view`), drawn from ``(seed, number)``.
        drop_last: Leave out an incomplete last batch (never the only one).
        seed: Seed of the order.
    """

    def __init__(
        self,
        source: Source,
        batch_size: int,
        *,
        shuffle: bool = False,
        drop_last: bool = False,
        seed: int = 0,
    ) -> None:
        checks.instance(
            "source",
            source,
            Source,
            "a source such as `moml.data.TensorSource`",
            "Wrap a data set of PyTorch: `moml.data.DatasetSource(dataset, tasks)`.",
        )
        checks.whole("batch_size", batch_size, least=1)
        checks.flag("shuffle", shuffle)
        checks.flag("drop_last", drop_last)
        checks.seed(seed)
        self.source, self.batch_size = source, min(batch_size, len(source))
        self.shuffle, self.drop_last, self.seed = shuffle, drop_last, seed
        self._part = (0, 1)
        self._order: tuple[int, Tensor] | None = None

    @property
    def batches_per_epoch(self) -> int:
        """Batches in one pass over the source."""
        full, rest = divmod(len(self.source), self.batch_size)
        return full if self.drop_last or rest == 0 else full + 1

    def batch(self, number: int) -> Batch:
        """The batch with this number."""
        epoch, position = divmod(number, self.batches_per_epoch)
        start = position * self.batch_size
        whole = self._epoch_order(epoch)[start : start + self.batch_size]
        index, count = self._part
        indices = whole.tensor_split(count)[index]
        if not self.shuffle:
            return self.source.batch(indices)
        mixed = (self.seed * 1_000_003 + number * 7919 + 54_321 + 104_729 * index) % 2**63
        return self.source.view(indices, torch.Generator().manual_seed(mixed))

    def part(self, index: int, count: int) -> Loader:
        """The same batches, of which only a part of the samples is read.

        Samples whose views are random (`Source.view`) are drawn by every part for itself.

        Raises:
            ValueError: If there are fewer samples in a batch than parts.
        """
        if self.batch_size < count:
            raise ValueError(
                f"`batch_size` should be at least the number of processes ({count}), found "
                f"{self.batch_size}. It counts the samples of all of them."
            )
        part = copy.copy(self)
        part._part = index, count
        return part

    def _epoch_order(self, epoch: int) -> Tensor:
        if not self.shuffle:
            epoch = 0
        known = self._order  # one look: other threads may be at another epoch
        if known is not None and known[0] == epoch:
            return known[1]
        n = len(self.source)
        order = torch.arange(n)
        if self.shuffle:
            mixed = (self.seed * 1_000_003 + epoch * 7919 + 12_345) % 2**63
            order = torch.randperm(n, generator=torch.Generator().manual_seed(mixed))
        self._order = epoch, order
        return order


class MultiLoader(BatchLoader[Batch]):
    """Multi-input batches: one loader per task, each cycling at its own length.

    An epoch lasts as long as the longest loader, so no sample of any task is left out.
    """

    def __init__(self, loaders: Mapping[str, Loader]) -> None:
        what = "a mapping from task to its `Loader`"
        for loader in checks.instance("loaders", loaders, Mapping, what).values():
            checks.instance("loaders", loader, Loader, what)
        self.loaders = by_task(loaders, "loaders")

    @property
    def batches_per_epoch(self) -> int:
        """Batches of the longest loader."""
        return max(loader.batches_per_epoch for loader in self.loaders.values())

    def part(self, index: int, count: int) -> MultiLoader:
        """A part of every task's samples."""
        return MultiLoader({t: one.part(index, count) for t, one in self.loaders.items()})

    def batch(self, number: int) -> Batch:
        """The tasks' own batches with this number, side by side."""
        inputs: dict[str, Any] = {}
        targets: dict[str, Tensor] = {}
        present: dict[str, Tensor] = {}
        weights: dict[str, Tensor] = {}
        for task, loader in self.loaders.items():
            one = loader.batch(number)
            inputs[task] = one.inputs
            if task in one.targets:
                targets[task] = one.targets[task]
            if one.present is not None and task in one.present:
                present[task] = one.present[task]
            if one.weights is not None and task in one.weights:
                weights[task] = one.weights[task]
        return Batch(TaskInputs(inputs), targets, present or None, weights or None)
