"""RE21: a truss of four bars, light or stiff."""

from __future__ import annotations

from math import sqrt

import torch
from torch import Tensor

from moml.front.problems._base import BoxProblem

FORCE, STRESS, MODULUS, LENGTH = 10.0, 10.0, 2e5, 200.0
LEAST = (1.0, sqrt(2.0), sqrt(2.0), 1.0)  # cross sections, times force over stress
MOST = 3.0


class RE21(BoxProblem):
    r"""Volume of a truss of four bars, and displacement of its joint.

    :math:`f_1 = L\,(2 a_1 + \sqrt 2\, a_2 + \sqrt{a_3} + a_4)`, :math:`f_2 = \tfrac{F L}{E}
    (2 / a_1 + 2 \sqrt 2 / a_2 - 2 \sqrt 2 / a_3 + 2 / a_4)`.

    Cheng & Li, 1999, as RE21 in Tanabe & Ishibuchi, `An easy-to-use real-world multi-objective
    optimization problem suite <https://doi.org/10.1016/j.asoc.2020.106078>`_, 2020. The third bar
    is as thin as can be on the front; the others balance :math:`p\,a + q / a`, so that
    :math:`a = \sqrt{t q / p}` within their limits for one t along the whole front, which is convex.

    Args:
        seed: Of the random start.
    """

    def __init__(self, *, seed: int = 0) -> None:
        super().__init__(num_variables=4, seed=seed)
        ends = self.front(2)
        self.nadir = tuple(ends.amax(0).tolist())

    def at(self, y: Tensor) -> tuple[Tensor, ...]:
        """Volume and displacement."""
        least = y.new_tensor(LEAST)
        return _losses((least + (MOST - least) * y) * (FORCE / STRESS))

    def front(self, number: int) -> Tensor:
        """At equal steps of the logarithm of t, from light to stiff."""
        ratio = torch.tensor([1.0, 2.0, 2.0], dtype=torch.float64)  # q / p of bars 1, 2 and 4
        low = torch.tensor([LEAST[0], LEAST[1], LEAST[3]], dtype=torch.float64)
        t = torch.logspace(0, 2, number, base=MOST, dtype=torch.float64)
        t[0], t[-1] = 0.5, MOST**2
        bars = (t[:, None] * ratio).sqrt().clamp(max=MOST).maximum(low)
        third = torch.full_like(t, LEAST[2])
        return torch.stack(_losses(torch.stack([bars[:, 0], bars[:, 1], third, bars[:, 2]])), dim=1)


def _losses(a: Tensor) -> tuple[Tensor, Tensor]:
    """Volume and displacement of cross sections ``(4, ...)``."""
    root = sqrt(2.0)
    volume = LENGTH * (2.0 * a[0] + root * a[1] + a[2].sqrt() + a[3])
    shift = 2.0 / a[0] + 2.0 * root / a[1] - 2.0 * root / a[2] + 2.0 / a[3]
    return volume, FORCE * LENGTH / MODULUS * shift
