"""RE37: an injector for a rocket, cool, short and cheap to cool."""

from __future__ import annotations

import torch
from torch import Tensor

from moml.front.problems._base import BoxProblem

# Coefficients of monomials in the four variables, by the exponents of each.
TEMPERATURE = {
    "0000": 0.692, "1000": 0.477, "0100": -0.687, "0010": -0.080, "0001": -0.0650,
    "2000": -0.167, "1100": -0.0129, "0200": 0.0796, "1010": -0.0634, "0110": -0.0257,
    "0020": 0.0877, "1001": -0.0521, "0101": 0.00156, "0011": 0.00198, "0002": 0.0184,
}  # fmt: skip
DISTANCE = {
    "0000": 0.153, "1000": -0.322, "0100": 0.396, "0010": 0.424, "0001": 0.0226,
    "2000": 0.175, "1100": 0.0185, "0200": -0.0701, "1010": -0.251, "0110": 0.179,
    "0020": 0.0150, "1001": 0.0134, "0101": 0.0296, "0011": 0.0752, "0002": 0.0192,
}  # fmt: skip
TIP = {
    "0000": 0.370, "1000": -0.205, "0100": 0.0307, "0010": 0.108, "0001": 1.019,
    "2000": -0.135, "1100": 0.0141, "0200": 0.0998, "1010": 0.208, "0110": -0.0301,
    "0020": -0.226, "1001": 0.353, "0011": -0.0497, "0002": -0.423, "2100": 0.202,
    "2010": -0.281, "1200": -0.342, "0210": -0.245, "0120": 0.281, "1002": -0.184,
    "1110": -0.281,
}  # fmt: skip
GRID = 21  # points per variable, from which the front is taken


class RE37(BoxProblem):
    """Temperature of an injector's face, length of the flame, and temperature of its tip.

    Vaidyanathan, Tucker, Papila & Shyy, 2003, as RE37 in Tanabe & Ishibuchi, `An easy-to-use
    real-world multi-objective optimization problem suite
    <https://doi.org/10.1016/j.asoc.2020.106078>`_, 2020: three polynomials of four variables in the
    unit box. The front is not known in closed form; `front` gives what no other point of a grid of
    21 values per variable beats, so that points between may be a little ahead of it.

    Args:
        seed: Of the random start.
    """

    tasks = ("f1", "f2", "f3")
    nadir = (1.002, 1.0969, 1.0965)  # of the grid

    def __init__(self, *, seed: int = 0) -> None:
        super().__init__(num_variables=4, seed=seed)

    def at(self, y: Tensor) -> tuple[Tensor, ...]:
        """The three polynomials."""
        return tuple(_polynomial(terms, y) for terms in (TEMPERATURE, DISTANCE, TIP))

    def front(self, number: int) -> Tensor:
        """Points of the grid's front, by rising first loss and thinned evenly."""
        import moocore

        axis = torch.linspace(0.0, 1.0, GRID, dtype=torch.float64)
        grid = torch.cartesian_prod(*[axis] * 4).T
        points = torch.stack(self.at(grid), dim=1)
        kept = points[torch.from_numpy(moocore.is_nondominated(points.numpy()))]
        kept = kept[kept[:, 0].argsort()]
        return kept[torch.linspace(0, len(kept) - 1, number).round().long()]


def _polynomial(terms: dict[str, float], y: Tensor) -> Tensor:
    total = torch.zeros_like(y[0])
    for exponents, coefficient in terms.items():
        product = torch.full_like(y[0], coefficient)
        for variable, power in zip(y, exponents, strict=True):
            if power != "0":
                product = product * variable ** int(power)
        total = total + product
    return total
