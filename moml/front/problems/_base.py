"""Problems whose Pareto front is known in closed form."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import Parameter

from moml.problem import Losses, Problem


class Point(nn.Module):
    """The point that is moved, float64, ``(n,)``."""

    def __init__(self, start: Tensor) -> None:
        super().__init__()
        self.x = Parameter(start.double())


class AnalyticProblem(Problem):
    """Two losses of a point, without data: every batch is the same.

    Args:
        num_variables: Length of the point.
        seed: Of the random start.
    """

    tasks = ("f1", "f2")
    nadir: tuple[float, float]
    """Largest losses on the front."""

    def __init__(self, *, num_variables: int, seed: int = 0) -> None:
        if num_variables < 1:
            raise ValueError(f"`num_variables` should be at least 1, found {num_variables}.")
        self.num_variables = num_variables
        self._point = Point(self._start(torch.Generator().manual_seed(seed)))

    @property
    def module(self) -> Point:
        """Holds the point."""
        return self._point

    def losses(self, batch: Any) -> Losses:
        """Both losses."""
        return dict(zip(self.tasks, self.values(self._point.x), strict=True))

    def shared_parameters(self) -> Iterable[Parameter]:
        """The point."""
        return [self._point.x]

    def private_parameters(self, task: str) -> Iterable[Parameter]:
        """None."""
        return []

    @abstractmethod
    def values(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Both losses of a point ``(n,)``, scalars."""

    @abstractmethod
    def front(self, number: int) -> Tensor:
        """Points of the front in order, ends included, ``(number, 2)``."""

    @abstractmethod
    def _start(self, generator: torch.Generator) -> Tensor:
        """Where to begin, ``(n,)``."""
