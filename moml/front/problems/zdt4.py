"""ZDT4: a convex front behind very many local ones."""

from __future__ import annotations

from math import pi

import torch
from torch import Tensor

from moml.front.problems._base import BoxProblem, at_least


class ZDT4(BoxProblem):
    r"""A convex front, and :math:`21^{n - 1}` local ones.

    :math:`f_1 = y_1`, :math:`f_2 = g\,(1 - \sqrt{f_1 / g})` with :math:`g = 1 + 10 (n - 1) +
    \sum_{i>1} (z_i^2 - 10 \cos 4 \pi z_i)` and :math:`z_i = 10\, y_i - 5`.

    Zitzler, Deb & Thiele, `Comparison of Multiobjective Evolutionary Algorithms
    <https://doi.org/10.1162/106365600568202>`_, 2000. The first variable lies in
    [0, 1], the others in [−5, 5]. Gradients lead to the next local front.

    Args:
        num_variables: n, at least 2.
        seed: Of the random start.
    """

    nadir = (1.0, 1.0)

    def __init__(self, *, num_variables: int = 10, seed: int = 0) -> None:
        at_least("num_variables", 2, num_variables)
        super().__init__(num_variables=num_variables, seed=seed)

    def at(self, y: Tensor) -> tuple[Tensor, ...]:
        """The first variable, and what is left to gain."""
        first, z = y[0], 10.0 * y[1:] - 5.0
        g = 1.0 + (10.0 + z.square() - 10.0 * (4.0 * pi * z).cos()).sum()
        return first, g * (1.0 - (first / g).sqrt())

    def front(self, number: int) -> Tensor:
        """At equal steps of the first loss."""
        f1 = torch.linspace(0.0, 1.0, number, dtype=torch.float64)
        return torch.stack([f1, 1.0 - f1.sqrt()], dim=1)
