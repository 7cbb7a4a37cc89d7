"""DTLZ7: a front in many pieces."""

from __future__ import annotations

from functools import cache
from math import cos, pi, sin

import torch
from torch import Tensor

from moml.front.problems._dtlz import DTLZ


class DTLZ7(DTLZ):
    r"""Any number of losses, a front in :math:`2^{m-1}` pieces.

    Deb, Thiele, Laumanns & Zitzler, 2005: :math:`f_i = y_i` and :math:`f_m = (1 + g)\,m - \sum_i
    f_i (1 + \sin 3 \pi f_i)`. Each of the first losses of the front lies where no smaller one takes
    as much from the last.

    Args:
        num_losses: m, at least 2.
        distance: Variables that measure the distance from the front.
        seed: Of the random start.
    """

    def __init__(self, *, num_losses: int = 3, distance: int = 20, seed: int = 0) -> None:
        super().__init__(num_losses=num_losses, distance=distance, seed=seed)
        self.nadir = (*(pieces()[-1][1],) * (num_losses - 1), 2.0 * num_losses)

    def at(self, y: Tensor) -> tuple[Tensor, ...]:
        """The position, and what it leaves of the distance."""
        position, z = self.split(y)
        g = 1.0 + 9.0 * z.mean()
        taken = (position * (1.0 + (3.0 * pi * position).sin())).sum()
        return (*position.unbind(), (1.0 + g) * self.num_losses - taken)

    def front(self, number: int) -> Tensor:
        """A lattice in the first losses, thinned evenly."""
        side = 2
        while side ** (self.num_losses - 1) < number:
            side += 1
        axes = [_axis(side)] * (self.num_losses - 1)
        firsts = torch.cartesian_prod(*axes).reshape(-1, self.num_losses - 1)
        keep = torch.linspace(0, len(firsts) - 1, number).round().long()
        firsts = firsts[keep]
        taken = (firsts * (1.0 + (3.0 * pi * firsts).sin())).sum(1)
        return torch.cat([firsts, 2.0 * self.num_losses - taken[:, None]], dim=1)


@cache
def pieces() -> tuple[tuple[float, float], tuple[float, float]]:
    """Where each of the first losses lies on the front."""
    from scipy.optimize import brentq

    def height(f: float) -> float:
        return f * (1.0 + sin(3.0 * pi * f))

    def slope(f: float) -> float:
        return 1.0 + sin(3.0 * pi * f) + 3.0 * pi * f * cos(3.0 * pi * f)

    first, last = brentq(slope, 0.2, 0.3, xtol=1e-15), brentq(slope, 0.8, 0.9, xtol=1e-15)
    again = brentq(lambda f: height(f) - height(first), 0.5, last, xtol=1e-15)
    return (0.0, first), (again + 1e-12, last)


def _axis(number: int) -> Tensor:
    """Points of both pieces, all ends included, as evenly as can be."""
    (a, b), (c, d) = pieces()
    left = max(1, min(number - 1, round(number * (b - a) / (b - a + d - c))))
    double = torch.float64
    return torch.cat(
        [
            torch.linspace(a, b, left, dtype=double),
            torch.linspace(c, d, number - left, dtype=double),
        ]
    )
