"""A suite restricted to some of its tasks: single-task references, ablations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from moml.data.batch import Batch
from moml.data.source import Source
from moml.data.suite import Split, Suite, TaskSpec


class TaskSubset(Suite):
    """The same data with fewer tasks.

    Args:
        suite: Any suite.
        tasks: Names of the tasks to keep.

    Raises:
        ValueError: If one is unknown or none is left.
    """

    def __init__(self, suite: Suite, tasks: Sequence[str]) -> None:
        unknown = [task for task in tasks if task not in suite.tasks]
        if unknown or not tasks:
            raise ValueError(f"`tasks` should be among {list(suite.tasks)}, found {list(tasks)}.")
        self.suite, self.defaults, self.bounds = suite, suite.defaults, suite.bounds
        self.references = suite.references
        self.kept = [task for task in suite.tasks if task in tasks]

    @property
    def tasks(self) -> Mapping[str, TaskSpec]:
        """The tasks kept."""
        return {task: self.suite.tasks[task] for task in self.kept}

    def sources(self, split: Split) -> Source | Mapping[str, Source]:
        """The suite's samples with the other tasks' targets left out."""
        sources = self.suite.sources(split)
        if isinstance(sources, Source):
            return _FewerTargets(sources, self.kept)
        return {task: sources[task] for task in self.kept}

    def encoder(self) -> nn.Module:
        """The suite's encoder."""
        return self.suite.encoder()

    def head(self, task: str, in_features: int) -> nn.Module:
        """The suite's head."""
        return self.suite.head(task, in_features)


class _FewerTargets(Source):
    def __init__(self, source: Source, tasks: Sequence[str]) -> None:
        self.source, self.tasks = source, tasks

    def __len__(self) -> int:
        return len(self.source)

    def batch(self, indices: Tensor) -> Batch:
        return self._fewer(self.source.batch(indices))

    def view(self, indices: Tensor, generator: torch.Generator) -> Batch:
        return self._fewer(self.source.view(indices, generator))

    def _fewer(self, whole: Batch) -> Batch:
        targets = {task: y for task, y in whole.targets.items() if task in self.tasks}
        present = {t: p for t, p in (whole.present or {}).items() if t in self.tasks}
        weights = {t: w for t, w in (whole.weights or {}).items() if t in self.tasks}
        return Batch(whole.inputs, targets, present or None, weights or None)
