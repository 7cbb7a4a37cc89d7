"""Deb and Sinha's second bi-level test problem, whose front is known."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import Parameter

from moml.bilevel import BilevelProblem, Params
from moml.data import BilevelBatch
from tasks._upper import Upper

_D = torch.float64


class DebSinha(BilevelProblem):
    """Deb and Sinha's second test problem with one lower objective: Pareto-optimal x in [1/2, 1].

    K. Deb, A. Sinha, "An efficient and accurate solution methodology for bilevel multi-objective
    programming problems", Evolutionary Computation 18(3), 2010; the lower level is ``|y - (x, 0, …,
    0)|^2 / 2``. The front is ``(x^2 + (x - 1)^2, 2 (x - 1)^2)``.

    Args:
        x: Where the upper variable starts.
        size: Number of lower variables.
    """

    def __init__(self, x: float = 0.0, *, size: int = 4) -> None:
        self.size = size
        self.upper = Upper(x=torch.tensor(x, dtype=_D))

    @property
    def tasks(self) -> tuple[str, ...]:
        """Two objectives."""
        return ("first", "second")

    @property
    def module(self) -> nn.Module:
        """Holds x."""
        return self.upper

    @property
    def x(self) -> float:
        """The upper variable."""
        return float(self.upper.values["x"].detach())

    def upper_parameters(self) -> dict[str, Parameter]:
        """X."""
        return dict(self.upper.values.items())

    def lower_init(
        self, omega: Mapping[str, Tensor], batch: BilevelBatch, previous: Params | None
    ) -> Params:
        """Zero, or where the lower level was left."""
        return previous or {"y": torch.zeros(self.size, dtype=_D)}

    def lower_loss(self, theta: Params, omega: Mapping[str, Tensor], batch: Any) -> Tensor:
        """Distance to ``(x, 0, …, 0)``."""
        y = theta["y"]
        return (y[0] - omega["x"]).square() / 2 + y[1:].square().sum() / 2

    def upper_losses(
        self, theta: Params, omega: Mapping[str, Tensor], batch: Any
    ) -> dict[str, Tensor]:
        """The two objectives."""
        y, x = theta["y"], omega["x"]
        common = (y[0] - 1).square() + y[1:].square().sum()
        return {"first": common + x.square(), "second": common + (x - 1).square()}

    @staticmethod
    def front(x: Tensor) -> Tensor:
        """Objectives at the lower optimum, ``(..., 2)``."""
        return torch.stack([x.square() + (x - 1).square(), 2 * (x - 1).square()], -1)
