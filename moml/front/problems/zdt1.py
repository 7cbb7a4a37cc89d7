"""ZDT1: many variables, a convex front."""

from __future__ import annotations

import torch
from torch import Tensor

from moml._support import checks
from moml.front.problems._base import AnalyticProblem


class ZDT1(AnalyticProblem):
    r"""Many variables of which one moves along a convex front.

    :math:`f_1 = y_1`, :math:`f_2 = g\,(1 - \sqrt{f_1 / g})`.

    On the unit box; Zitzler, Deb & Thiele, `Comparison of Multiobjective Evolutionary Algorithms
    <https://doi.org/10.1162/106365600568202>`_, 2000, with :math:`g = 1 + 9 \sum_{i>1} y_i /
    (n-1)`. The box is parametrised smoothly, :math:`y = \sin^2 x`, so that gradient steps stay
    inside and reach its faces. The front is :math:`f_2 = 1 - \sqrt{f_1}`, convex.

    Args:
        num_variables: n, at least 2.
        seed: Of the random start.
    """

    nadir = (1.0, 1.0)

    def __init__(self, *, num_variables: int = 30, seed: int = 0) -> None:
        checks.whole("num_variables", num_variables, least=2)
        super().__init__(num_variables=num_variables, seed=seed)

    def values(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The first variable, and what is left to gain."""
        y = x.sin().square()
        first, g = y[0], 1.0 + 9.0 * y[1:].mean()
        return first, g * (1.0 - (first / g).sqrt())

    def front(self, number: int) -> Tensor:
        """At equal steps of the first loss."""
        f1 = torch.linspace(0.0, 1.0, number, dtype=torch.float64)
        return torch.stack([f1, 1.0 - f1.sqrt()], dim=1)

    def _start(self, generator: torch.Generator) -> Tensor:
        return 0.3 + 0.9 * torch.rand(self.num_variables, generator=generator)
