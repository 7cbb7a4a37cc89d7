"""A meta-batch: several episodes of the same shape, stacked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from moml.data.batch import Batch
from moml.data.bilevel_batch import BilevelBatch


@dataclass(frozen=True)
class EpisodeBatch:
    """Several episodes, each a small task: learn from the support set, answer the query set.

    Attributes:
        support: What is adapted to; inputs ``(E, S, ...)``, targets ``(E, S, ...)`` per task.
        query: What the adapted model is judged on; inputs ``(E, Q, ...)`` and targets alike.
    """

    support: Batch
    query: Batch

    def __len__(self) -> int:
        """Number of episodes ``E``."""
        assert isinstance(self.support.inputs, Tensor)
        return len(self.support.inputs)

    def episode(self, index: int) -> BilevelBatch:
        """One episode as the two levels see it: support ``(S, ...)`` below, query above."""
        return BilevelBatch((_row(self.support, index),), _row(self.query, index))

    def to(self, device: torch.device | str) -> EpisodeBatch:
        """Copy to ``device``."""
        return EpisodeBatch(self.support.to(device), self.query.to(device))

    @classmethod
    def stack(cls, episodes: Sequence[tuple[Batch, Batch]]) -> EpisodeBatch:
        """Stack ``(support, query)`` pairs that share their shapes."""
        support, query = zip(*episodes, strict=True)
        return cls(_stack(support), _stack(query))

    @classmethod
    def cat(cls, batches: Sequence[EpisodeBatch]) -> EpisodeBatch:
        """All episodes of several meta-batches, in order."""
        pairs = [(_row(b.support, i), _row(b.query, i)) for b in batches for i in range(len(b))]
        return cls.stack(pairs)


def _row(batch: Batch, index: int) -> Batch:
    return _each(batch, lambda x: x[index])


def _each(batch: Batch, change: Callable[[Tensor], Tensor]) -> Batch:
    """A batch with every tensor changed."""
    assert isinstance(batch.inputs, Tensor)
    fields = (
        values and {task: change(value) for task, value in values.items()}
        for values in (batch.targets, batch.present, batch.weights)
    )
    return Batch(change(batch.inputs), *fields)  # type: ignore[arg-type]


def _stack(batches: Sequence[Batch]) -> Batch:
    inputs = torch.stack([torch.as_tensor(one.inputs) for one in batches])
    tasks = batches[0].targets
    targets = {t: torch.stack([one.targets[t] for one in batches]) for t in tasks}
    return Batch(inputs, targets, _marks(batches, "present"), _marks(batches, "weights"))


def _marks(batches: Sequence[Batch], field: str) -> dict[str, Tensor] | None:
    """Masks or weights of the tasks that have them in any episode; ones in the others."""
    found = [getattr(one, field) or {} for one in batches]
    some = {task: value for values in found for task, value in values.items()}
    made = {
        task: torch.stack([values.get(task, torch.ones_like(like)) for values in found])
        for task, like in some.items()
    }
    return made or None
