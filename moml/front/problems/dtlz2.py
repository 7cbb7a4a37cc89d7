"""DTLZ2: a spherical front."""

from __future__ import annotations

from torch import Tensor

from moml.front.problems._dtlz import DTLZ, on_sphere, smooth


class DTLZ2(DTLZ):
    r"""Any number of losses, a front that is part of the unit sphere.

    Deb, Thiele, Laumanns & Zitzler, 2005. Concave: linear scalarization reaches its corners only.

    Args:
        num_losses: m, at least 2.
        distance: Variables that measure the distance from the front.
        seed: Of the random start.
    """

    def __init__(self, *, num_losses: int = 3, distance: int = 8, seed: int = 0) -> None:
        super().__init__(num_losses=num_losses, distance=distance, seed=seed)
        self.nadir = (1.0,) * num_losses

    def at(self, y: Tensor) -> tuple[Tensor, ...]:
        """A point of a sphere whose radius is one on the front."""
        position, z = self.split(y)
        radius = 1.0 + smooth(z)
        return tuple(radius * part for part in on_sphere(position))

    def front(self, number: int) -> Tensor:
        """Evenly spread."""
        return self.sphere(number)
