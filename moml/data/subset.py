"""A suite restricted to some of its tasks: single-task references, ablations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from moml._support.task_names import task_names
from moml.data.batch import Batch
from moml.data.source import Source
from moml.data.suite import Split, Suite, TaskSpec


def named(suite: Suite, tasks: Sequence[str | int] | None = None) -> Suite:
    """The suite with these of its tasks, which are named by strings.

    Args:
        suite: Any suite; integers that name its tasks stand for their decimal strings.
        tasks: Names of the tasks to keep, all unless given.

    Raises:
        ValueError: If a name is of another kind, unknown, or given twice.
    """
    if tasks is None and all(isinstance(name, str) for name in suite.tasks):
        return suite
    return TaskSubset(suite, list(suite.tasks) if tasks is None else tasks)


class TaskSubset(Suite):
    """The same data with fewer tasks.

    Args:
        suite: Any suite.
        tasks: Names of the tasks to keep.

    Raises:
        ValueError: If one is unknown or given twice, none is left, or the suite has a loader of its
            own.
    """

    def __init__(self, suite: Suite, tasks: Sequence[str | int]) -> None:
        known = dict(zip(task_names(suite.tasks, "tasks"), suite.tasks, strict=True))
        wanted = [str(task) for task in tasks]
        if not wanted or any(task not in known for task in wanted):
            raise ValueError(f"`tasks` should be among {list(known)}, found {list(tasks)}.")
        task_names(tasks, "tasks")
        if type(suite).loader is not Suite.loader:
            raise ValueError(
                f"`tasks` should be left out, and tasks be named by strings, where a suite makes "
                f"its own batches, found the `loader` of {type(suite).__name__}."
            )
        self.suite, self.defaults, self.bounds = suite, suite.defaults, suite.bounds
        self.references, self.example = suite.references, suite.example
        self.kept: dict[str, Any] = {name: key for name, key in known.items() if name in wanted}

    @property
    def tasks(self) -> Mapping[str, TaskSpec]:
        """The tasks kept."""
        specs = self.suite.tasks
        return {name: specs[key] for name, key in self.kept.items()}

    def sources(self, split: Split) -> Source | Mapping[str, Source]:
        """The suite's samples with the other tasks' targets left out."""
        sources = self.suite.sources(split)
        if isinstance(sources, Source):
            return _FewerTargets(sources, list(self.kept))
        if not isinstance(sources, Mapping):
            return sources  # whoever reads it says what it should be
        return {name: sources[key] for name, key in self.kept.items()}

    def encoder(self) -> nn.Module:
        """The suite's encoder."""
        return self.suite.encoder()

    def head(self, task: str, in_features: int) -> nn.Module:
        """The suite's head."""
        return self.suite.head(self.kept[task], in_features)

    def heads(self, in_features: int) -> dict[str, nn.Module]:
        """The suite's heads: one by one, unless it makes them together."""
        if type(self.suite).heads is Suite.heads:
            return super().heads(in_features)
        made: Mapping[Any, nn.Module] = self.suite.heads(in_features)
        return {name: made[key] for name, key in self.kept.items()}


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
