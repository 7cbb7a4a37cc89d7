"""Unit gradients that cancel: the rank decides, not rounding, and not the order of the tasks."""

import itertools

import numpy as np
import pytest
import torch

from moml.weighting import IMTL, ConFIG
from moml.weighting._rank import shares_of


def pair(seed=0):
    u, v = torch.from_numpy(np.random.default_rng(seed).standard_normal((2, 6)))
    return u, v


def cases():
    u, v = pair()
    far = torch.from_numpy(np.random.default_rng(1).standard_normal((5, 3)))
    return {
        "two opposite pairs": torch.stack([u, -u, v, -v]),
        "opposite pairs of other lengths": torch.stack([u, -2.0 * u, 3.0 * v, -0.1 * v]),
        "an opposite pair beside another": torch.stack([u, -u, v]),
        "three that sum to zero": torch.stack([u, v, -u - v]),
        "more tasks than parameters": far,
        "duplicates": torch.stack([u, u, v, v]),
        "nothing special": torch.stack([u, v, u + v + torch.eye(6, dtype=torch.float64)[0]]),
    }


STOPS = {  # zero in the affine hull of the unit gradients
    "two opposite pairs",
    "opposite pairs of other lengths",
    "an opposite pair beside another",
    "three that sum to zero",
    "more tasks than parameters",
}


def direction(method, rows):
    return method().weights(rows @ rows.mT) @ rows


@pytest.mark.parametrize("name", cases())
@pytest.mark.parametrize("method", (IMTL, ConFIG))
def test_the_order_of_tasks_does_not_matter_where_gradients_cancel(method, name):
    rows = cases()[name]
    expected = direction(method, rows)
    for order in list(itertools.permutations(range(len(rows))))[::5]:
        found = direction(method, rows[list(order)])
        torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", cases())
def test_imtl_stops_where_zero_lies_in_the_affine_hull_of_the_unit_gradients(name):
    rows = cases()[name]
    weights = IMTL().weights(rows @ rows.mT)
    assert ((weights @ rows).norm() < 1e-12) == (name in STOPS)
    assert weights.sum().item() == pytest.approx(1) or (weights < 0).any()


def test_imtl_stops_before_it_turns_round():
    """Nearly opposite gradients: the direction shrinks with their angle, and is zero in the end."""
    u, v = pair()
    lengths = []
    for angle in (1e-2, 1e-4, 1e-5, 1e-7, 0.0):
        rows = torch.stack([u, -u + angle * v])
        lengths.append(direction(IMTL, rows).norm().item())
    assert lengths == sorted(lengths, reverse=True)
    assert lengths[-1] < 1e-15


@pytest.mark.parametrize("name", sorted(STOPS - {"more tasks than parameters"}))
def test_config_is_the_least_squares_direction(name):
    """Of equal cosines, as far as there are any; zero if there is none."""
    rows = cases()[name]
    units = rows / rows.norm(dim=1, keepdim=True)
    fit = torch.linalg.lstsq(units, torch.ones(len(rows), 1, dtype=torch.float64), driver="gelsd")
    expected = fit.solution[:, 0]
    found = direction(ConFIG, rows)
    if expected.norm() < 1e-9:
        assert not found.any()
    else:
        unit = expected / expected.norm()
        torch.testing.assert_close(found, (rows @ unit).sum() * unit, rtol=1e-9, atol=1e-12)


def test_shares_split_the_aim():
    draw = np.random.default_rng(0)
    for rank in (2, 4, 6):
        units = draw.standard_normal((6, rank))
        units /= np.linalg.norm(units, axis=1, keepdims=True)
        cosines, aim = units @ units.T, draw.standard_normal(6)
        reached, cancelling = shares_of(cosines, aim)
        np.testing.assert_allclose(cosines @ reached + cancelling, aim, atol=1e-9)
        np.testing.assert_allclose(cosines @ cancelling, 0.0, atol=1e-9)
