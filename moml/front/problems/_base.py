"""Problems whose Pareto front is known."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import Parameter

from moml._support import checks
from moml.problem import Losses, Problem


class Point(nn.Module):
    """The point that is moved, float64, ``(n,)``."""

    def __init__(self, start: Tensor) -> None:
        super().__init__()
        self.x = Parameter(start.double())


class AnalyticProblem(Problem):
    """Losses of a point, without data: every batch is the same.

    Args:
        num_variables: Length of the point.
        seed: Of the random start.
    """

    tasks: tuple[str, ...] = ("f1", "f2")
    nadir: tuple[float, ...]
    """Largest losses on the front."""

    def __init__(self, *, num_variables: int, seed: int = 0) -> None:
        checks.whole("num_variables", num_variables, least=1)
        self.num_variables = num_variables
        self._point = Point(self._start(torch.Generator().manual_seed(checks.seed(seed))))

    @property
    def module(self) -> Point:
        """Holds the point."""
        return self._point

    def losses(self, batch: Any) -> Losses:
        """The losses."""
        return dict(zip(self.tasks, self.values(self._point.x), strict=True))

    def shared_parameters(self) -> Iterable[Parameter]:
        """The point."""
        return [self._point.x]

    def private_parameters(self, task: str) -> Iterable[Parameter]:
        """None."""
        return []

    @abstractmethod
    def values(self, x: Tensor) -> tuple[Tensor, ...]:
        """The losses of a point ``(n,)``, scalars."""

    @abstractmethod
    def front(self, number: int) -> Tensor:
        """Points of the front, ends included and in order for two losses, ``(number, m)``."""

    @abstractmethod
    def _start(self, generator: torch.Generator) -> Tensor:
        """Where to begin, ``(n,)``."""


class BoxProblem(AnalyticProblem):
    r"""Losses on a box, parametrised smoothly: :math:`y = \sin^2 x` runs over the unit box.

    Gradient steps stay inside and reach the faces.

    Args:
        num_variables: Length of the point.
        seed: Of the random start.
    """

    def values(self, x: Tensor) -> tuple[Tensor, ...]:
        """The losses of a point ``(n,)``, scalars."""
        return self.at(x.sin().square())

    @abstractmethod
    def at(self, y: Tensor) -> tuple[Tensor, ...]:
        """The losses of a point of the unit box ``(n,)``, scalars."""

    def _start(self, generator: torch.Generator) -> Tensor:
        return 0.3 + 0.9 * torch.rand(self.num_variables, generator=generator)


def at_least(name: str, least: int, value: int) -> int:
    """A whole number that is large enough.

    Raises:
        ValueError: If it is not.
    """
    return checks.whole(name, value, least=least)
