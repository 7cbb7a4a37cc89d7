"""Episodes by number: a position in a meta-training run is one integer."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch

from moml._support import checks
from moml.data.episode_batch import EpisodeBatch
from moml.data.loader import BatchLoader

_SOURCE = "a source of episodes such as `moml.data.ClassEpisodes`"


class EpisodeSource(ABC):
    """A distribution over small tasks."""

    @abstractmethod
    def sample(self, generator: torch.Generator, count: int) -> EpisodeBatch:
        """Draw ``count`` episodes; everything random comes from ``generator``."""


class EpisodeLoader(BatchLoader[EpisodeBatch]):
    """An endless sequence of fresh meta-batches, each a function of ``(seed, number)`` alone.

    Args:
        source: Where episodes come from.
        meta_batch_size: Episodes per step.
        batches_per_epoch: What is called an epoch; there is no other limit to the sequence.
        seed: Seed of the sequence.

    Raises:
        ValueError: If a size is below 1.
    """

    def __init__(
        self,
        source: EpisodeSource,
        meta_batch_size: int,
        *,
        batches_per_epoch: int = 100,
        seed: int = 0,
    ) -> None:
        checks.whole("meta_batch_size", meta_batch_size, least=1)
        checks.whole("batches_per_epoch", batches_per_epoch, least=1)
        checks.instance("source", source, EpisodeSource, _SOURCE)
        checks.seed(seed)
        self.source, self.meta_batch_size, self.seed = source, meta_batch_size, seed
        self._batches_per_epoch = batches_per_epoch

    @property
    def batches_per_epoch(self) -> int:
        """The setting."""
        return self._batches_per_epoch

    def batch(self, number: int) -> EpisodeBatch:
        """The meta-batch with this number."""
        return self.source.sample(_generator(self.seed, number), self.meta_batch_size)


class EpisodeList(BatchLoader[EpisodeBatch]):
    """The same episodes in every pass, for validation and testing.

    Each episode is a function of ``(seed, its index)``: how many share a meta-batch changes what
    fits into memory, not the episodes. The last meta-batch holds what is left.

    Args:
        source: Where episodes come from.
        count: Number of episodes.
        meta_batch_size: Episodes per batch.
        seed: Seed of the list.

    Raises:
        ValueError: If a size is below 1.
    """

    def __init__(
        self, source: EpisodeSource, count: int, *, meta_batch_size: int, seed: int = 0
    ) -> None:
        checks.whole("count", count, least=1)
        checks.whole("meta_batch_size", meta_batch_size, least=1)
        checks.instance("source", source, EpisodeSource, _SOURCE)
        checks.seed(seed)
        self.source, self.count, self.seed = source, count, seed
        self.meta_batch_size = min(meta_batch_size, count)

    @property
    def batches_per_epoch(self) -> int:
        """Batches in one pass over the list."""
        return -(-self.count // self.meta_batch_size)

    def batch(self, number: int) -> EpisodeBatch:
        """The meta-batch with this number; the list starts again at its end."""
        first = (number % self.batches_per_epoch) * self.meta_batch_size
        last = min(first + self.meta_batch_size, self.count)
        return EpisodeBatch.cat(
            [self.source.sample(_generator(self.seed, i), 1) for i in range(first, last)]
        )


def _generator(seed: int, number: int) -> torch.Generator:
    mixed = (seed * 1_000_003 + number * 7919 + 12_345) % 2**63
    return torch.Generator().manual_seed(mixed)
