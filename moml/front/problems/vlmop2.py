"""VLMOP2: two Gaussian wells, a concave front."""

from __future__ import annotations

import torch
from torch import Tensor

from moml.front.problems._base import AnalyticProblem


class VLMOP2(AnalyticProblem):
    r"""Two Gaussian wells, whose front linear scalarization cannot reach.

    :math:`f_{1,2} = 1 - \exp(-\sum_i (x_i \mp 1/\sqrt n)^2)`.

    Fonseca & Fleming, 1995; Van Veldhuizen & Lamont, `Multiobjective Evolutionary Algorithm Test
    Suites <https://doi.org/10.1145/298151.298382>`_, 1999. The front is concave: linear
    scalarization reaches its two ends only. Far from the wells gradients vanish.

    Args:
        num_variables: n.
        seed: Of the random start.
    """

    nadir = (0.9816843611112658, 0.9816843611112658)  # 1 - exp(-4)

    def __init__(self, *, num_variables: int = 2, seed: int = 0) -> None:
        super().__init__(num_variables=num_variables, seed=seed)

    def values(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """One minus each well."""
        offset = self.num_variables**-0.5
        first, second = (x - offset).square().sum(), (x + offset).square().sum()
        return -torch.expm1(-first), -torch.expm1(-second)

    def front(self, number: int) -> Tensor:
        """At equal steps along the line between both minima."""
        u = torch.linspace(1.0, -1.0, number, dtype=torch.float64)
        return torch.stack([-torch.expm1(-(u - 1).square()), -torch.expm1(-(u + 1).square())], 1)

    def _start(self, generator: torch.Generator) -> Tensor:
        return torch.rand(self.num_variables, generator=generator) - 0.5
