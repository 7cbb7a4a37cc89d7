"""What the problems of Deb, Thiele, Laumanns and Zitzler have in common."""

from __future__ import annotations

from math import pi

import torch
from torch import Tensor

from moml.front.problems._base import BoxProblem, at_least
from moml.front.spread import spread


class DTLZ(BoxProblem):
    """Any number of losses; all variables but the first few measure the distance from the front.

    Deb, Thiele, Laumanns & Zitzler, `Scalable Test Problems for Evolutionary Multiobjective
    Optimization <https://doi.org/10.1007/1-84628-137-7_6>`_, 2005.

    Args:
        num_losses: m, at least 2.
        distance: Variables that measure the distance, k; there are m − 1 more.
        seed: Of the random start.
    """

    def __init__(self, *, num_losses: int, distance: int, seed: int) -> None:
        self.num_losses = at_least("num_losses", 2, num_losses)
        self.tasks = tuple(f"f{i + 1}" for i in range(num_losses))
        at_least("distance", 1, distance)
        super().__init__(num_variables=num_losses - 1 + distance, seed=seed)

    def split(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """Variables of the position ``(m - 1,)`` and of the distance ``(k,)``."""
        return y[: self.num_losses - 1], y[self.num_losses - 1 :]

    def sphere(self, number: int) -> Tensor:
        """Evenly spread points of the positive part of the unit sphere, ``(number, m)``."""
        points = spread(self.num_losses, number)
        return points / points.norm(dim=1, keepdim=True)


def rugged(z: Tensor) -> Tensor:
    """A distance with very many local minima, 0 in the middle of the box."""
    away = z - 0.5
    return 100.0 * (1.0 + away.square() - (20.0 * pi * away).cos()).sum()


def smooth(z: Tensor) -> Tensor:
    """The squared distance from the middle of the box."""
    return (z - 0.5).square().sum()


def on_sphere(angles: Tensor) -> tuple[Tensor, ...]:
    """The point of the unit sphere at these angles, in quarters of a turn ``(m - 1,)``."""
    cosines, sines = (0.5 * pi * angles).cos(), (0.5 * pi * angles).sin()
    m = len(angles) + 1
    found = []
    for i in range(m):
        value = cosines[: m - 1 - i].prod()
        found.append(value if i == 0 else value * sines[m - 1 - i])
    return tuple(found)


def curve(num_losses: int, number: int) -> Tensor:
    """The arc that DTLZ5 and DTLZ6 end on, ``(number, m)``."""
    angles = torch.full((number, num_losses - 1), 0.5, dtype=torch.float64)
    angles[:, 0] = torch.linspace(0.0, 1.0, number, dtype=torch.float64)
    return torch.stack([torch.stack(on_sphere(row)) for row in angles])


def bent(position: Tensor, g: Tensor) -> Tensor:
    """Angles that lose their freedom near the front, but for the first, ``(m - 1,)``."""
    rest = (1.0 + 2.0 * g * position[1:]) / (2.0 * (1.0 + g))
    return torch.cat([position[:1], rest])
