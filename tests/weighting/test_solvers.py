"""The numpy solvers on Gramians that break approximate ones: accuracy, scale, degenerate rows.

Gradient families and error measures are those of ``scripts/bench_solvers.py``.
"""

import runpy
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from moml.weighting import MGDA, CAGrad, NashMTL, PCGrad, UPGrad
from moml.weighting._cagrad import cagrad_weights
from moml.weighting._cone import Projector, projected_weights
from moml.weighting._fair import fair_weights
from moml.weighting._gramian import one_thread, root
from moml.weighting._min_norm import frank_wolfe_weights, min_norm_weights

BENCH = runpy.run_path(str(Path(__file__).parents[2] / "scripts" / "bench_solvers.py"))
STATIONARY = ("hull", "zero_row")
FAMILIES = [family.__name__ for family in BENCH["FAMILIES"]]
NOT_STATIONARY = [name for name in FAMILIES if name not in STATIONARY]
SIZES = (1, 2, 3, 8, 32, 128)
CASES = [(f, m) for f in FAMILIES for m in SIZES if m > 1 or f not in STATIONARY]


@pytest.fixture(autouse=True)
def _one_thread():
    with one_thread(128):
        yield


def gramian_of(family, m, seed):
    rows = BENCH[family](m, np.random.default_rng(seed))
    return rows @ rows.T


@pytest.mark.parametrize("m", SIZES)
@pytest.mark.parametrize("family", NOT_STATIONARY)
def test_min_norm_is_exact_and_descends(family, m):
    for seed in range(3):
        gramian = gramian_of(family, m, seed)
        weights = min_norm_weights(gramian)
        gap, margin = BENCH["min_norm_errors"](gramian, weights)
        spread = np.sqrt(np.diagonal(gramian).max() / (weights @ gramian @ weights))
        assert (weights >= 0).all()
        assert weights.sum() == pytest.approx(1, abs=1e-14)
        assert gap <= 1e-12
        # weights are rounded: relative to |d|^2 that costs eps * |g_i| / |d|
        assert margin <= max(1e-9, 4 * np.finfo(float).eps * spread)


@pytest.mark.parametrize("m", SIZES[1:])
@pytest.mark.parametrize("family", STATIONARY)
def test_min_norm_vanishes_at_stationary_points(family, m):
    for seed in range(3):
        gramian = gramian_of(family, m, seed)
        weights = min_norm_weights(gramian)
        length = np.sqrt(max(weights @ gramian @ weights, 0))
        assert length <= 1e-7 * np.sqrt(np.diagonal(gramian).max())


@pytest.mark.parametrize(("family", "m"), [case for case in CASES if case[0] != "hull"])
def test_nash_solves_its_equation(family, m):
    for seed in range(3):
        gramian = gramian_of(family, m, seed)
        weights = fair_weights(gramian, power=1.0)
        live = np.diagonal(gramian) > 0
        assert (weights[live] > 0).all()
        assert not weights[~live].any()
        assert BENCH["nash_error"](gramian, weights) <= 1e-8
        assert weights @ gramian @ weights == pytest.approx(live.sum(), rel=1e-8)


@pytest.mark.parametrize("power", (0.5, 2.0, 3.0))
@pytest.mark.parametrize("family", ("spread", "near_stationary", "correlated_spread", "zero_row"))
def test_fair_shares_solve_their_equation(family, power):
    for m, seed in ((2, 0), (8, 2), (64, 1)):
        gramian = gramian_of(family, m, seed)
        weights = fair_weights(gramian, power=power)
        assert BENCH["fair_error"](gramian, weights, power) <= 1e-6


@pytest.mark.parametrize("m", SIZES[1:])
def test_nash_is_finite_without_solution(m):
    weights = fair_weights(gramian_of("hull", m, 0), power=1.0)
    assert np.isfinite(weights).all()
    assert (weights > 0).all()


@pytest.mark.parametrize("c", (0.1, 0.4, 0.9, 1.0, 5.0))
@pytest.mark.parametrize(("family", "m"), [case for case in CASES if case[1] < 128])
def test_cagrad_closes_the_duality_gap(family, m, c):
    for seed in range(3):
        gramian = gramian_of(family, m, seed)
        # the bound itself takes a direction of length 1e-8 for zero where zero is in the hull
        tolerance = 1e-6 if family == "hull" and c >= 1 else 1e-8
        assert BENCH["cagrad_error"](gramian, cagrad_weights(gramian, c=c), c) <= tolerance


def test_cagrad_at_its_limits():
    gramian = gramian_of("random", 5, 0)
    np.testing.assert_array_equal(cagrad_weights(gramian, c=0.0), np.full(5, 0.2))
    far = cagrad_weights(gramian, c=1e6) - 0.2
    np.testing.assert_allclose(far / far.sum(), min_norm_weights(gramian), atol=1e-5)
    opposite = np.array([[1.0, -1.0], [-1.0, 1.0]])  # average gradient zero
    np.testing.assert_array_equal(cagrad_weights(opposite, c=0.5), [0.5, 0.5])


@pytest.mark.parametrize(("family", "m"), CASES)
def test_projections_satisfy_their_optimality_conditions(family, m):
    for seed in range(1 if m == 128 else 3):
        gramian = gramian_of(family, m, seed)
        violation, cosine = BENCH["upgrad_errors"](gramian, projected_weights(gramian))
        assert violation <= 1e-11
        assert np.isnan(cosine) or cosine >= -1e-9


def test_pivoting_agrees_with_least_squares():
    for seed in range(20):
        gramian = gramian_of("random", 12, seed)
        norms = np.sqrt(np.diagonal(gramian))
        project = Projector(gramian / norms / norms[:, None])
        weights = np.random.default_rng(seed).standard_normal(12)
        surplus = project._least_squares(weights)
        assert np.count_nonzero(surplus) > 0
        np.testing.assert_allclose(project(weights), weights + surplus, atol=1e-11)


def test_root_of_dependent_rows():
    rows = np.array([[1.0, 0.0], [0.6, 0.8], [-1.0, 0.0], [0.6, 0.8]])
    factor = root(rows @ rows.T)
    assert len(factor) == 2
    np.testing.assert_allclose(factor.T @ factor, rows @ rows.T, atol=1e-15)


@pytest.mark.parametrize(
    "solve",
    [min_norm_weights, frank_wolfe_weights, partial(fair_weights, power=1.0),
     lambda gramian: cagrad_weights(gramian, c=0.4),
     lambda gramian: projected_weights(gramian).mean(0)],
    ids=["min_norm", "frank_wolfe", "nash", "cagrad", "cone"],
)  # fmt: skip
@pytest.mark.parametrize("scale", (1e-24, 1.0, 1e24))
def test_degenerate_gramians(solve, scale):
    rng = np.random.default_rng(0)
    for m in (1, 2, 5):
        zeros = np.zeros((m, m))
        assert np.isfinite(solve(zeros)).all()
        equal = scale * np.ones((m, m))
        weights = solve(equal)
        assert np.isfinite(weights).all()
        assert weights.sum() > 0
    for rank in (1, 2, 3):
        for _ in range(50):
            rows = rng.integers(-2, 3, (7, rank)).astype(float)
            assert np.isfinite(solve(scale * (rows @ rows.T))).all()


def test_zero_rows_share_the_minimum_norm():
    gramian = np.diag([0.0, 4.0, 0.0])
    np.testing.assert_array_equal(min_norm_weights(gramian), [0.5, 0.0, 0.5])


@pytest.mark.parametrize("m", (2, 3, 8, 32))
@pytest.mark.parametrize("family", ("random", "spread", "spread_8", "near_stationary"))
@pytest.mark.parametrize("method", (MGDA, NashMTL, CAGrad, UPGrad, PCGrad))
def test_scale_law(method, family, m):
    rows = torch.from_numpy(BENCH[family](m, np.random.default_rng(7)))
    base = method().weights(rows @ rows.mT)
    for scale in (1e-12, 1e-3, 1e5, 1e12):
        scaled = method().weights((scale * rows) @ (scale * rows).mT)
        torch.testing.assert_close(
            scaled / scaled.sum(), base / base.sum(), rtol=1e-6, atol=1e-6 / m
        )


def test_frank_wolfe_converges_where_it_can():
    gramian = gramian_of("random", 3, 1)
    weights = frank_wolfe_weights(gramian, iterations=10_000, tolerance=1e-9)
    np.testing.assert_allclose(weights, min_norm_weights(gramian), atol=1e-3)


@pytest.mark.parametrize("method", (MGDA, NashMTL, CAGrad, UPGrad, PCGrad))
def test_bad_gramians_are_explained(method):
    gramian = torch.eye(3, dtype=torch.float64)
    gramian[:, 1] = gramian[1] = float("nan")
    with pytest.raises(ValueError, match=r"`gramian` should be finite.*row\(s\) 1\."):
        method().weights(gramian)
    gramian = torch.eye(3, dtype=torch.float64)
    gramian[0, 2] = gramian[2, 0] = float("inf")
    with pytest.raises(ValueError, match=r"row\(s\) 0, 2\."):
        method().weights(gramian)
    with pytest.raises(ValueError, match=r"should have shape .* found \(2, 3\)"):
        method().weights(torch.zeros(2, 3))


@pytest.mark.parametrize("method", (MGDA, NashMTL, CAGrad, UPGrad))
def test_batches(method):
    rows = torch.randn(2, 3, 4, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    gramians = rows @ rows.mT
    weights = method().weights(gramians)
    assert weights.shape == (2, 3, 4)
    torch.testing.assert_close(weights[1, 2], method().weights(gramians[1, 2]))
