"""Regression of sine waves from a few points.

The few-shot regression of C. Finn, P. Abbeel, S. Levine, "Model-agnostic meta-learning for fast
adaptation of deep networks", ICML 2017, section 5.1.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from moml.backbone import MLP, LinearHead
from moml.data import (
    Batch,
    EpisodeBatch,
    EpisodeSource,
    FewShotDefaults,
    FewShotSuite,
    TaskSpec,
)
from moml.data.suite import Split
from moml.losses import MeanSquaredError

if TYPE_CHECKING:
    from torchmetrics import Metric

AMPLITUDES, PHASES, INPUTS = (0.1, 5.0), (0.0, torch.pi), (-5.0, 5.0)


class Sinusoid(FewShotSuite):
    """Sine waves from a few points each: the two-parameter benchmark for meta-learning.

    An episode is ``y = a sin(x - p)`` with amplitude ``a`` uniform in [0.1, 5] and phase ``p``
    uniform in [0, π]; inputs ``(1,)`` are uniform in [-5, 5]. The splits are disjoint sequences of
    draws. Squared error: lower is better; a wave's own mean square is about 4.2 on average.

    Args:
        shots: Support points.
        queries: Query points.
        seed: Seed of the validation and test episodes.

    Raises:
        ValueError: If a number of points is below 1.
    """

    defaults = FewShotDefaults(
        steps=2000,
        meta_batch_size=25,
        learning_rate=1e-3,
        inner_learning_rate=0.01,
        inner_steps=1,
        eval_inner_steps=10,
        eval_every=500,
        eps=0.25,
    )
    bounds = INPUTS

    def __init__(self, *, shots: int = 10, queries: int = 10, seed: int = 0) -> None:
        for name, value in (("shots", shots), ("queries", queries)):
            if value < 1:
                raise ValueError(f"`{name}` should be at least 1, found {value}.")
        self.shots, self.queries, self.seed = shots, queries, seed

    @property
    def tasks(self) -> Mapping[str, TaskSpec]:
        """One task: the wave's value."""
        return {"value": TaskSpec(MeanSquaredError(), _metrics, main="mse")}

    def source(self, split: Split) -> EpisodeSource:
        """The distribution over waves, the same for every split."""
        return _Waves(self.shots, self.queries)

    def encoder(self) -> nn.Module:
        """Two layers of 40 units, as in the paper."""
        return MLP(1, hidden=(40, 40))

    def head(self, in_features: int) -> nn.Module:
        """One linear output."""
        return LinearHead(in_features, 1)


class _Waves(EpisodeSource):
    def __init__(self, shots: int, queries: int) -> None:
        self.shots, self.queries = shots, queries

    def sample(self, generator: torch.Generator, count: int) -> EpisodeBatch:
        points = self.shots + self.queries
        draws = torch.rand(count, 2 + points, 1, generator=generator)  # (E, 2 + S + Q, 1)
        amplitude, phase = _uniform(draws[:, :1], AMPLITUDES), _uniform(draws[:, 1:2], PHASES)
        inputs = _uniform(draws[:, 2:], INPUTS)
        values = amplitude * (inputs - phase).sin()
        support = Batch(inputs[:, : self.shots], {"value": values[:, : self.shots]})
        query = Batch(inputs[:, self.shots :], {"value": values[:, self.shots :]})
        return EpisodeBatch(support, query)


def _uniform(draws: Tensor, between: tuple[float, float]) -> Tensor:
    low, high = between
    return low + (high - low) * draws


def _metrics() -> dict[str, Metric]:
    from torchmetrics import MeanSquaredError as Metric

    return {"mse": Metric()}
