"""Toys whose outcome is known: where methods end, and where they stop."""

from functools import partial

import numpy as np
import pytest
import torch

from moml.weighting import IMTL, MGDA, CAGrad, DualProj, FairGrad, NashMTL, PCGrad, UPGrad
from moml.weighting._fair import fair_weights
from moml.weighting._min_norm import min_norm_weights


def valley(x, y):
    """Gradients of the two losses of Liu et al. (CAGrad) and Navon et al., the first times 0.1.

    Above y = 0 two narrow valleys, below two bowls at (7, -8) and (-7, -8).
    """
    t = np.tanh(-y)
    slope = -(1 - t * t)  # of tanh(-y)
    half = np.tanh(0.5 * y)
    upper, lower = max(half, 0.0), max(-half, 0.0)
    fade = 0.5 * (1 - half * half)
    rows = []
    for inside, by_x, by_y, centre in (
        (0.5 * (-x - 7) - t, -0.5, -slope, 7.0),
        (0.5 * (-x + 3) + t + 2, -0.5, slope, -7.0),
    ):
        size = max(abs(inside), 5e-6)
        ridge = np.log(size) + 6
        steep = 1 / inside if abs(inside) > 5e-6 else 0.0
        bowl = ((-x + centre) ** 2 + 0.1 * (-y - 8) ** 2) / 10 - 20
        along = upper * steep * by_x - lower * (-x + centre) / 5
        across = upper * steep * by_y - lower * 0.1 * (-y - 8) / 5
        across += fade * (ridge * (half > 0) - bowl * (half < 0))
        rows.append((along, across))
    return np.array(rows) * np.array([[0.1], [1.0]])


def descend(solve, start, *, steps=35_000, lr=1e-3):
    """Adam, as in the paper."""
    point, first, second = np.array(start), np.zeros(2), np.zeros(2)
    for step in range(1, steps + 1):
        rows = valley(*point)
        gradient = solve(rows @ rows.T) @ rows
        first, second = 0.9 * first + 0.1 * gradient, 0.999 * second + 0.001 * gradient**2
        root = np.sqrt(second / (1 - 0.999**step)) + 1e-8
        point = point - lr * first / (1 - 0.9**step) / root
    return point


# End points as an independent implementation found them, by method and start.
ENDS = [
    ("MGDA", min_norm_weights, (-8.5, 7.5), (-1.98, -8.36)),
    ("Nash left", partial(fair_weights, power=1.0), (-8.5, 7.5), (-2.94, -8.37)),
    ("Nash right", partial(fair_weights, power=1.0), (9.0, 9.0), (2.94, -8.37)),
    ("EW stuck", lambda gramian: np.ones(2), (9.0, 9.0), (5.0, 4.0)),
]


@pytest.mark.parametrize(
    ("solve", "start", "end"),
    [
        pytest.param(*row, id=name, marks=[pytest.mark.slow] if "Nash" in name else [])
        for name, *row in ENDS
    ],
)
def test_the_valley_ends_where_it_should(solve, start, end):
    found = descend(solve, start)
    assert found.tolist() == pytest.approx(end, abs=0.15)


@pytest.mark.parametrize("ratio", (0.3, 1.0, 4.0))
def test_where_two_opposite_gradients_stop_a_method(ratio):
    """g1 = -c g2 is Pareto stationary: MGDA, UPGrad and DualProj stop, the average does not."""
    g = torch.tensor([1.0, 2.0, -1.0], dtype=torch.float64)
    rows = torch.stack([-ratio * g, g])
    gramian = rows @ rows.mT
    for method in (MGDA, UPGrad, DualProj):
        assert (method().weights(gramian) @ rows).norm() <= 1e-7 * g.norm()
    assert (PCGrad().weights(gramian) @ rows).norm() <= 1e-7 * g.norm()  # cosine -1: stops too
    for method in (NashMTL, FairGrad):  # no solution: bounded by a ridge
        assert (method().weights(gramian) @ rows).norm() <= 1e-3 * method().weights(gramian).norm()
    average = CAGrad(c=0.4).weights(gramian) @ rows
    if ratio == 1.0:
        assert average.norm() <= 1e-7
    else:
        assert (rows.sum(0) - (1 - ratio) * g).norm() <= 1e-12
        assert average.norm() > 0.01


def test_imtl_stops_on_the_affine_hull_of_unit_gradients():
    # 0 is in the affine hull of the units (but not in the gradients' convex hull): no impartial way
    units = torch.tensor([[1.0, 0.0], [0.6, 0.8], [-0.28, 0.96]], dtype=torch.float64)
    rows = torch.tensor([[1.0], [2.0], [0.5]], dtype=torch.float64) * units
    gramian = rows @ rows.mT
    assert (MGDA().weights(gramian) @ rows).norm() > 0.1
    direction = IMTL().weights(gramian) @ rows
    projections = units @ direction
    assert direction.isfinite().all()
    assert (projections - projections.mean()).abs().max() > 1e-3 or direction.norm() < 1e-6
