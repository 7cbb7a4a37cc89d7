"""VLMOP1: two parabolas, a convex front."""

from __future__ import annotations

import torch
from torch import Tensor

from moml.front.problems._base import AnalyticProblem


class VLMOP1(AnalyticProblem):
    r"""Mean squared distances to two points.

    :math:`f_1 = \|x\|^2 / n`, :math:`f_2 = \|x - 2\|^2 / n`.

    Van Veldhuizen & Lamont, `Multiobjective Evolutionary Algorithm Test Suites
    <https://doi.org/10.1145/298151.298382>`_, 1999 (Schaffer's problem for n = 1). The front is
    :math:`\sqrt{f_1} + \sqrt{f_2} = 2`, convex.

    Args:
        num_variables: n.
        seed: Of the random start.
    """

    nadir = (4.0, 4.0)

    def __init__(self, *, num_variables: int = 1, seed: int = 0) -> None:
        super().__init__(num_variables=num_variables, seed=seed)

    def values(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean squares."""
        return x.square().mean(), (x - 2.0).square().mean()

    def front(self, number: int) -> Tensor:
        """At equal steps along the line between both minima."""
        x = torch.linspace(0.0, 2.0, number, dtype=torch.float64)
        return torch.stack([x.square(), (x - 2.0).square()], dim=1)

    def _start(self, generator: torch.Generator) -> Tensor:
        return 8.0 * torch.rand(self.num_variables, generator=generator) - 3.0
