"""ZDT6: a concave front that is crowded at one end."""

from __future__ import annotations

from math import atan, exp, pi, sin

import torch
from torch import Tensor

from moml.front.problems._base import BoxProblem, at_least

_BEST = atan(9.0 * pi) / (6.0 * pi)  # where the first loss is smallest
LEAST = 1.0 - exp(-4.0 * _BEST) * sin(6.0 * pi * _BEST) ** 6
TINY = 1e-48  # below that a fourth root has no gradient


class ZDT6(BoxProblem):
    r"""A concave front whose solutions are crowded at one end.

    :math:`f_1 = 1 - e^{-4 y_1} \sin^6 6 \pi y_1`, :math:`f_2 = g\,(1 - (f_1 / g)^2)` with
    :math:`g = 1 + 9 (\sum_{i>1} y_i / (n-1))^{1/4}`.

    On the unit box; Zitzler, Deb & Thiele, `Comparison of Multiobjective Evolutionary Algorithms
    <https://doi.org/10.1162/106365600568202>`_, 2000. Most of the first
    variable's values give losses near one, where gradients vanish.

    Args:
        num_variables: n, at least 2.
        seed: Of the random start.
    """

    nadir = (1.0, 1.0 - LEAST**2)

    def __init__(self, *, num_variables: int = 10, seed: int = 0) -> None:
        at_least("num_variables", 2, num_variables)
        super().__init__(num_variables=num_variables, seed=seed)

    def at(self, y: Tensor) -> tuple[Tensor, ...]:
        """A wavy function of the first variable, and what is left to gain."""
        first = 1.0 - (-4.0 * y[0]).exp() * (6.0 * pi * y[0]).sin() ** 6
        g = 1.0 + 9.0 * y[1:].mean().clamp_min(TINY) ** 0.25
        return first, g * (1.0 - (first / g).square())

    def front(self, number: int) -> Tensor:
        """At equal steps of the first loss."""
        f1 = torch.linspace(LEAST, 1.0, number, dtype=torch.float64)
        return torch.stack([f1, 1.0 - f1.square()], dim=1)
