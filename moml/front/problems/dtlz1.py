"""DTLZ1: a flat front behind very many local ones."""

from __future__ import annotations

from torch import Tensor

from moml.front.problems._dtlz import DTLZ, rugged
from moml.front.spread import spread


class DTLZ1(DTLZ):
    r"""Any number of losses, a flat front :math:`\sum_i f_i = 1/2`, and very many local ones.

    Deb, Thiele, Laumanns & Zitzler, 2005. Gradients lead to the next local front.

    Args:
        num_losses: m, at least 2.
        distance: Variables that measure the distance from the front.
        seed: Of the random start.
    """

    def __init__(self, *, num_losses: int = 3, distance: int = 5, seed: int = 0) -> None:
        super().__init__(num_losses=num_losses, distance=distance, seed=seed)
        self.nadir = (0.5,) * num_losses

    def at(self, y: Tensor) -> tuple[Tensor, ...]:
        """Shares of one half, and more of it the farther from the front."""
        position, z = self.split(y)
        total = 0.5 * (1.0 + rugged(z))
        found = []
        for i in range(self.num_losses):
            kept = position[: self.num_losses - 1 - i].prod()
            last = 1.0 if i == 0 else 1.0 - position[self.num_losses - 1 - i]
            found.append(total * kept * last)
        return tuple(found)

    def front(self, number: int) -> Tensor:
        """Evenly spread."""
        return 0.5 * spread(self.num_losses, number)
