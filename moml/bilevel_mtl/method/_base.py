"""Methods that are more than a weighting."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from moml.data import Suite
from moml.data.stream import Stream
from moml.multitask import MultiTask
from moml.optim import Updater
from moml.oracle import Oracle
from moml.problem import Objectives
from moml.weighting import Weighting


@dataclass(frozen=True)
class Setting:
    """What a method is composed from.

    Attributes:
        suite: The benchmark, restricted to the tasks of the run.
        problem: Network and losses.
        weighting: What the user chose, wrapped as asked for; ``None`` to take the method's own.
        optimizer: Makes the optimizer of the network's parameters, at the run's learning rate.
        scheduler: Makes its schedule, if there is one.
        clip_norm: Largest norm of the network's gradient.
        learning_rate: Rate of that optimizer.
        batch_size: Samples per batch.
        seed: Seed of the data's order.
        device: Where batches are put.
        workers: Threads that read batches ahead.
    """

    suite: Suite
    problem: MultiTask
    weighting: Weighting | None
    optimizer: Callable[[Iterable[Tensor]], Optimizer]
    scheduler: Callable[[Optimizer], LRScheduler] | None
    clip_norm: float | None
    learning_rate: float
    batch_size: int
    seed: int
    device: torch.device | str
    workers: int = 0


@dataclass(frozen=True)
class Composition:
    """What `moml.fit` takes."""

    problem: Objectives
    oracle: Oracle
    weighting: Weighting
    updater: Updater
    stream: Stream


class Method(ABC):
    """A named problem, oracle, weighting, updater and stream.

    `moml.jobs.multitask.MultiTaskJob` trains any as it trains weightings; at equal ``steps``
    the network's parameters move equally often, and what a method computes besides shows as time.
    """

    paper: ClassVar[str] = ""
    """Authors, title, venue and year."""

    @abstractmethod
    def compose(self, setting: Setting) -> Composition:
        """Put the pieces together.

        Raises:
            ValueError: If a piece the user chose does not go with the method.
        """
