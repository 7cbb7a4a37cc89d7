"""A problem whose losses are each multiplied by a number: its share of a larger batch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from moml.problem import AroundProblem, FactoredProblem, Losses, Problem


def shared_out(problem: Problem, shares: Mapping[str, float]) -> Problem:
    """The problem with every task's loss times its share.

    Args:
        problem: The problem.
        shares: Number by task; every task with a loss has one.
    """
    kind = _SharedFactored if isinstance(problem, FactoredProblem) else _Shared
    return kind(problem, shares)


class _Shared(AroundProblem):
    def __init__(self, problem: Problem, shares: Mapping[str, float]) -> None:
        super().__init__(problem)
        self.shares = shares

    def losses(self, batch: Any) -> Losses:
        return self._times(self.problem.losses(batch))

    def _times(self, losses: Losses) -> Losses:
        return {name: loss * self.shares[name] for name, loss in losses.items()}


class _SharedFactored(_Shared, FactoredProblem):
    """The same with a representation."""

    problem: FactoredProblem

    def features(self, batch: Any) -> dict[str, Tensor]:
        return self.problem.features(batch)

    def fan_out(self, features: dict[str, Tensor], batch: Any) -> dict[str, Tensor] | None:
        return self.problem.fan_out(features, batch)

    def losses_from(self, features: dict[str, Tensor], batch: Any) -> Losses:
        return self._times(self.problem.losses_from(features, batch))

    losses = FactoredProblem.losses
