"""What evaluation says about an adapted learner: numbers per episode, means and intervals."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional

from moml.attack import Attack
from moml.data import EpisodeBatch, TaskSpec
from moml.few_shot.objectives import Robust
from moml.few_shot.query import Query

if TYPE_CHECKING:
    from torchmetrics import Metric


@dataclass(frozen=True)
class MeasuredScore:
    """A measure over all episodes.

    Attributes:
        loss: Mean loss.
        metrics: Means over episodes, or a number of all queries together.
        intervals: Half the width of the 95 % confidence interval of each mean over episodes.
    """

    loss: float
    metrics: dict[str, float]
    intervals: dict[str, float]


class Measure(ABC):
    """Takes in queries and says how well they were answered.

    Attributes:
        main: The metric that model selection looks at.
        scale: Its typical size.
        higher_is_better: Direction of every metric.
    """

    main: str
    scale: float = 1.0
    higher_is_better: Mapping[str, bool]

    @abstractmethod
    def add(self, query: Query, episodes: int) -> None:
        """Take in some episodes, one after the other in ``query``."""

    @abstractmethod
    def result(self) -> MeasuredScore:
        """What was found."""


class QueryMetrics(Measure):
    """A suite's loss and metrics of the queries, clean or perturbed against the adapted network.

    Args:
        spec: Loss and metrics.
        attack: Perturbs the queries; a fresh one for every evaluation, so that they are the same.
    """

    def __init__(self, spec: TaskSpec, *, attack: Attack | None = None) -> None:
        self.spec, self.main, self.scale = spec, spec.main, spec.scale
        self.robust = None if attack is None else Robust(attack)
        self.metrics = spec.metrics()
        self.higher_is_better = {n: bool(m.higher_is_better) for n, m in self.metrics.items()}
        self.losses: list[float] = []
        self.values: dict[str, list[float]] = {name: [] for name in self.metrics}

    def add(self, query: Query, episodes: int) -> None:
        """Loss and metrics of every episode."""
        if self.robust is None:
            prediction = query.prediction
        else:
            prediction = query.frozen(self.robust.perturbed(query))
        for one, target in zip(*_episodes(episodes, prediction, query.targets), strict=True):
            self.losses.append(float(self.spec.loss(one, target)))
            for name, metric in self.metrics.items():
                self.values[name].append(_value(metric, one, target))

    def result(self) -> MeasuredScore:
        """Means over episodes."""
        return _means(self.losses, self.values)


class CalibrationMetrics(Measure):
    """The Brier score per episode, and the expected calibration error of all queries together.

    The error is binned (15 bins, torchmetrics): over the few queries of one episode it would be
    biased, and has no interval.
    """

    main = "brier"

    def __init__(self) -> None:
        from torchmetrics.classification import BinaryCalibrationError

        self.higher_is_better = {"brier": False, "calibration_error": False}
        self.scores: list[float] = []
        # Confidence and correctness: the multi-class error, whatever the number of classes
        self.error = BinaryCalibrationError(n_bins=15, norm="l1")

    def add(self, query: Query, episodes: int) -> None:
        """Squared distances of the probabilities to the labels; confidences."""
        probabilities = query.prediction.softmax(1)
        labels = functional.one_hot(query.targets, probabilities.shape[1])
        distances = (probabilities - labels).square().sum(1)
        self.scores += distances.unflatten(0, (episodes, -1)).mean(1).tolist()
        confidence, said = probabilities.max(1)
        self.error.to(confidence.device).update(confidence, (said == query.targets).long())

    def result(self) -> MeasuredScore:
        """Mean score, and the error."""
        brier = _means(self.scores, {"brier": self.scores})
        metrics = {**brier.metrics, "calibration_error": float(self.error.compute())}
        return MeasuredScore(brier.loss, metrics, brier.intervals)


def judge(
    adapt: Callable[[EpisodeBatch], Iterable[Query]],
    batches: Iterable[EpisodeBatch],
    measures: Mapping[str, Measure],
    *,
    device: torch.device | str = "cpu",
) -> dict[str, MeasuredScore]:
    """Adapt to every episode and measure the answers.

    Args:
        adapt: Gives the adapted networks in front of the queries of a batch.
        batches: Episodes.
        measures: What to measure, by name; fresh.
        device: Where the network lives.
    """
    for batch in batches:
        for query in adapt(batch.to(device)):
            assert isinstance(batch.query.inputs, Tensor)
            episodes = len(query.inputs) // batch.query.inputs.shape[1]
            with torch.no_grad():
                for measure in measures.values():
                    measure.add(query, episodes)
    return {name: measure.result() for name, measure in measures.items()}


def _episodes(episodes: int, *tensors: Tensor) -> list[Tensor]:
    """``(E * Q, ...)`` as ``(E, Q, ...)``."""
    return [tensor.unflatten(0, (episodes, -1)) for tensor in tensors]


def _value(metric: Metric, prediction: Tensor, target: Tensor) -> float:
    metric.to(prediction.device).reset()
    metric.update(prediction, target)
    return float(metric.compute())


def _means(losses: Sequence[float], values: Mapping[str, Sequence[float]]) -> MeasuredScore:
    intervals = {}
    if len(losses) > 1:
        intervals = {n: _half_width(v) for n, v in values.items()}
    return MeasuredScore(fmean(losses), {n: fmean(v) for n, v in values.items()}, intervals)


def _half_width(values: Sequence[float]) -> float:
    """Of the 95 % interval of the mean; not finite where a value is not."""
    return 1.96 * float(torch.tensor(values, dtype=torch.float64).std()) / math.sqrt(len(values))
