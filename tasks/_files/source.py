"""Samples read from disk one by one, when a batch asks for them."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from moml.data import Batch, Source

Sample = tuple[Tensor, dict[str, Tensor]]  # input, and target per task
View = Callable[[Sample, torch.Generator], Sample]


class FileSource(Source):
    """Samples that a function reads by number.

    Args:
        count: How many there are.
        read: Input and targets of sample ``i``, of the same shapes for every sample.
        view: A random view of a sample, for training.
    """

    def __init__(self, count: int, read: Callable[[int], Sample], view: View | None = None) -> None:
        assert count > 0, "an empty split should have been noticed before"
        self.count, self.read, self.random_view = count, read, view

    def __len__(self) -> int:
        return self.count

    def batch(self, indices: Tensor) -> Batch:
        """Read the samples at ``indices``."""
        return _stacked([self.read(int(i)) for i in indices])

    def view(self, indices: Tensor, generator: torch.Generator) -> Batch:
        """Read them, and draw a view of each."""
        if self.random_view is None:
            return self.batch(indices)
        return _stacked([self.random_view(self.read(int(i)), generator) for i in indices])


def _stacked(samples: list[Sample]) -> Batch:
    inputs = torch.stack([x for x, _ in samples])
    targets = {task: torch.stack([y[task] for _, y in samples]) for task in samples[0][1]}
    return Batch(inputs, targets)
