"""A benchmark: its tasks, its data by split, and the networks it is usually solved with."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal

from torch import Tensor, nn

from moml._support import checks
from moml.data.batch import Batch
from moml.data.bounds import Bounds
from moml.data.loader import BatchLoader, Loader, MultiLoader
from moml.data.source import Source
from moml.losses import Loss
from moml.losses.given import as_loss

if TYPE_CHECKING:
    from torchmetrics import Metric

Split = Literal["train", "val", "test"]
Schedule = Literal["constant", "cosine"]


@dataclass(frozen=True)
class TaskSpec:
    """What one task minimises and how its quality is told.

    Attributes:
        loss: Training loss of ``(prediction, target)``: of `moml.losses`, a loss module of
            `torch.nn`, or a function that averages over samples.
        metrics: Makes fresh metrics, name to torchmetrics object; each is updated with
            ``(prediction, target)`` and knows its ``higher_is_better``.
        main: The metric that model selection looks at.
        scale: Typical size of that metric (a trivial predictor's error, say), so that tasks can be
            averaged; 1 for metrics between 0 and 1.
        unit: Unit of the predictions, for tables.
    """

    loss: Loss
    metrics: Callable[[], dict[str, Metric]]
    main: str
    unit: str = ""
    scale: float = 1.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "loss", as_loss(self.loss))
        checks.function("metrics", self.metrics, "lambda: {'accuracy': MulticlassAccuracy(3)}")
        checks.instance("main", self.main, str, "the name of a metric")
        checks.number("scale", self.scale, above=0.0)


@dataclass(frozen=True)
class Defaults:
    """Training settings that suit a suite; every one can be overridden.

    Attributes:
        steps: Optimizer steps.
        batch_size: Samples per step.
        learning_rate: Rate of Adam, at the start.
        schedule: How the rate goes on: the same, or down to zero along a cosine.
        eval_every: Steps between validations.
        learning_rates: Rates worth trying when methods are tuned.
    """

    steps: int = 1000
    batch_size: int = 128
    learning_rate: float = 1e-3
    schedule: Schedule = "cosine"
    eval_every: int = 100
    learning_rates: tuple[float, ...] = field(default=(3e-4, 1e-3, 3e-3))


class Suite(ABC):
    """Data, losses and metrics of a benchmark.

    Splits are made by source item (a digit image, a graph, a scene), never by rendered sample.

    Attributes:
        defaults: Training settings that suit it.
        bounds: Interval of valid inputs, which adversarial examples keep to: two numbers, or two
            tensors that broadcast with one input (``(C, 1, 1)`` for bounds per channel). ``None``
            if inputs are not bounded.
        references: Files of single-task results of the literature, by name.
        example: Inputs of one sample, ``(1, ...)``, where they are known before any data are read:
            architectures size layers by it. ``None`` where a sample is to be looked at.
    """

    defaults: Defaults = Defaults()
    bounds: Bounds | None = None
    references: Mapping[str, Path] = MappingProxyType({})
    example: Tensor | None = None

    @property
    @abstractmethod
    def tasks(self) -> Mapping[str, TaskSpec]:
        """The tasks, in the order every matrix and table uses."""

    @abstractmethod
    def sources(self, split: Split) -> Source | Mapping[str, Source]:
        """The samples of a split: one source, or one per task (multi-input)."""

    @abstractmethod
    def encoder(self) -> nn.Module:
        """A fresh default encoder; its ``out_features`` attribute is the width heads expect."""

    @abstractmethod
    def head(self, task: str, in_features: int) -> nn.Module:
        """A fresh default head of ``task`` on features of this width."""

    def heads(self, in_features: int) -> dict[str, nn.Module]:
        """Fresh default heads of all tasks."""
        return {task: self.head(task, in_features) for task in self.tasks}

    def loader(
        self, split: Split, *, batch_size: int | None = None, seed: int = 0
    ) -> BatchLoader[Batch]:
        """Batches of a split: shuffled, no ragged last one for training; in order otherwise."""
        size = self.defaults.batch_size if batch_size is None else batch_size
        return loader_of(self.sources(split), size, train=split == "train", seed=seed)


def loader_of(
    sources: Source | Mapping[str, Source], batch_size: int, *, train: bool, seed: int
) -> BatchLoader[Batch]:
    """Batches of one source, or of one per task side by side.

    Args:
        sources: The samples.
        batch_size: Samples per batch and source.
        train: Shuffled without a ragged last batch, or else in order.
        seed: Seed of the order.
    """
    if isinstance(sources, Source):
        return Loader(sources, batch_size, shuffle=train, drop_last=train, seed=seed)
    return MultiLoader(
        {
            task: Loader(source, batch_size, shuffle=train, drop_last=train, seed=seed + 101 * i)
            for i, (task, source) in enumerate(sources.items())
        }
    )
