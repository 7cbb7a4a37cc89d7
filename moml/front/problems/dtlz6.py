"""DTLZ6: the curve of DTLZ5, which is hard to reach."""

from __future__ import annotations

from torch import Tensor

from moml._support import checks
from moml.front.problems._dtlz import DTLZ, bent, curve, on_sphere

TINY = 1e-120  # below that a tenth root has no gradient


class DTLZ6(DTLZ):
    r"""`DTLZ5` with a distance made of tenth roots, which is flat far from the front.

    Deb, Thiele, Laumanns & Zitzler, 2005: the distance is :math:`\sum_i z_i^{1/10}`.

    Args:
        num_losses: m, at least 2 and at most 3.
        distance: Variables that measure the distance from the front.
        seed: Of the random start.
    """

    def __init__(self, *, num_losses: int = 3, distance: int = 8, seed: int = 0) -> None:
        checks.whole("num_losses", num_losses)
        if num_losses > 3:
            raise ValueError(
                f"`num_losses` should be 2 or 3, found {num_losses}. Fronts of more are not known."
            )
        super().__init__(num_losses=num_losses, distance=distance, seed=seed)
        self.nadir = tuple(curve(num_losses, 2).amax(0).tolist())

    def at(self, y: Tensor) -> tuple[Tensor, ...]:
        """A point of a sphere whose radius is one on the front."""
        position, z = self.split(y)
        g = (z.clamp_min(TINY) ** 0.1).sum()
        return tuple((1.0 + g) * part for part in on_sphere(bent(position, g)))

    def front(self, number: int) -> Tensor:
        """At equal steps of the angle."""
        return curve(self.num_losses, number)
