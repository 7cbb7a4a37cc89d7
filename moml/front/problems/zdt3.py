"""ZDT3: many variables, a front in five pieces."""

from __future__ import annotations

from functools import cache
from itertools import pairwise
from math import cos, pi, sin, sqrt

import torch
from torch import Tensor

from moml.front.problems._base import BoxProblem, at_least

ENDS = (0.083, 0.2577, 0.4539, 0.6525, 0.8518)  # of the pieces, roughly


class ZDT3(BoxProblem):
    r"""Many variables of which one moves along a front of five pieces.

    :math:`f_1 = y_1`, :math:`f_2 = g\,(1 - \sqrt{f_1 / g} - (f_1 / g) \sin 10 \pi f_1)` with
    :math:`g = 1 + 9 \sum_{i>1} y_i / (n-1)`.

    On the unit box; Zitzler, Deb & Thiele, `Comparison of Multiobjective Evolutionary Algorithms
    <https://doi.org/10.1162/106365600568202>`_, 2000. The second loss falls
    below zero.

    Args:
        num_variables: n, at least 2.
        seed: Of the random start.
    """

    nadir = (0.8518328654, 1.0)

    def __init__(self, *, num_variables: int = 30, seed: int = 0) -> None:
        at_least("num_variables", 2, num_variables)
        super().__init__(num_variables=num_variables, seed=seed)

    def at(self, y: Tensor) -> tuple[Tensor, ...]:
        """The first variable, and what is left to gain."""
        first, g = y[0], 1.0 + 9.0 * y[1:].mean()
        share = first / g
        return first, g * (1.0 - share.sqrt() - share * (10.0 * pi * first).sin())

    def front(self, number: int) -> Tensor:
        """At equal steps of the first loss, pieces put end to end."""
        pieces = torch.tensor(_pieces(), dtype=torch.float64)
        before = torch.cat([pieces.new_zeros(1), (pieces[:, 1] - pieces[:, 0]).cumsum(0)])
        along = torch.linspace(0.0, 1.0, number, dtype=torch.float64) * before[-1]
        piece = (torch.searchsorted(before, along, right=True) - 1).clamp(0, len(pieces) - 1)
        f1 = pieces[piece, 0] + along - before[piece]
        return torch.stack([f1, 1.0 - f1.sqrt() - f1 * (10.0 * pi * f1).sin()], dim=1)


@cache
def _pieces() -> list[list[float]]:
    """First losses of every piece: it starts where the curve is as low as where the last ended."""
    from scipy.optimize import brentq

    def height(f: float) -> float:
        return 1.0 - sqrt(f) - f * sin(10.0 * pi * f)

    def slope(f: float) -> float:
        return -0.5 / sqrt(f) - sin(10.0 * pi * f) - 10.0 * pi * f * cos(10.0 * pi * f)

    ends = [brentq(slope, end - 0.01, end + 0.01, xtol=1e-15) for end in ENDS]
    starts = [0.0]
    for end, following in pairwise(ends):
        low = height(end)
        top = following - 0.1  # a maximum lies between
        starts.append(brentq(lambda f, low=low: height(f) - low, top, following, xtol=1e-15))
    return [[start + 1e-12 * (start > 0), end] for start, end in zip(starts, ends, strict=True)]
