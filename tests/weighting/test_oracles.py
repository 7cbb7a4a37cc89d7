"""Methods against independent slow solvers in float64, and against TorchJD where that is right.

The oracles share no code and no algorithm with the package: SLSQP from several starts, projected
gradients with very many steps, and bisection.
"""

import warnings

import numpy as np
import pytest
import torch
import torchjd.aggregation as torchjd
import torchjd.scalarization as torchjd_losses
from scipy.optimize import minimize

from moml import Evaluation
from moml.weighting import DWA, GLS, MGDA, UW, AlignedMTL, CAGrad, NashMTL, PCGrad, UPGrad

SEEDS = range(6)


def rows_of(m, seed, spread=1.0, n=None):
    rng = np.random.default_rng(1000 * m + seed)
    rows = rng.standard_normal((m, n or m + 3))
    return rows * 10.0 ** (spread * rng.uniform(-1, 1, (m, 1)))


def weights_of(method, rows):
    return method.weights(torch.from_numpy(rows @ rows.T)).numpy()


def slsqp_on_simplex(function, gradient, m, starts=4):
    """Best of several starts, each refined by restarting at its own end."""
    rng = np.random.default_rng(0)
    best = None
    for start in rng.dirichlet(np.ones(m), size=starts):
        point = start
        for _ in range(3):
            with warnings.catch_warnings():  # rounding just outside the bounds
                warnings.simplefilter("ignore", RuntimeWarning)
                result = minimize(
                    function, point, jac=gradient, method="SLSQP", bounds=[(0, 1)] * m,
                    constraints={"type": "eq", "fun": lambda w: w.sum() - 1,
                                 "jac": lambda w: np.ones(m)},
                    options={"ftol": 1e-15, "maxiter": 1000},
                )  # fmt: skip
            point = np.maximum(result.x, 0) / np.maximum(result.x, 0).sum()
        if best is None or function(point) < function(best):
            best = point
    return best


@pytest.mark.parametrize("m", (2, 3, 6))
def test_min_norm_against_slsqp(m):
    for seed in SEEDS:
        rows = rows_of(m, seed, spread=0.5)
        gramian = rows @ rows.T
        gramian /= np.trace(gramian)
        found = slsqp_on_simplex(lambda w, g=gramian: w @ g @ w, lambda w, g=gramian: 2 * g @ w, m)
        weights = weights_of(MGDA(), rows)
        np.testing.assert_allclose(weights @ rows, found @ rows, rtol=1e-5, atol=1e-5)
        assert weights @ gramian @ weights <= found @ gramian @ found * (1 + 1e-12)


@pytest.mark.parametrize("c", (0.2, 0.5, 0.9, 2.0))
@pytest.mark.parametrize("m", (2, 3, 6))
def test_cagrad_against_slsqp(m, c):
    for seed in SEEDS:
        rows = rows_of(m, seed, spread=0.5)
        rows /= np.linalg.norm(rows.mean(0))
        average = rows.mean(0)

        def objective(w, rows=rows, average=average):
            return w @ rows @ average + c * np.linalg.norm(w @ rows)

        def gradient(w, rows=rows, average=average):
            point = w @ rows
            return rows @ (average + c * point / np.linalg.norm(point))

        found = slsqp_on_simplex(objective, gradient, m)
        direction = weights_of(CAGrad(c=c, rescale=0), rows) @ rows
        assert np.linalg.norm(direction - average) <= c * (1 + 1e-9)  # feasible for the primal …
        assert (rows @ direction).min() == pytest.approx(objective(found), abs=1e-6)  # … optimal


def project_onto_dual_cone(rows, target, steps=4000):
    """Dykstra's alternating projections onto the half-spaces g_i·d >= 0."""
    point, increments = target.copy(), np.zeros_like(rows)
    for _ in range(steps):
        for i, normal in enumerate(rows):
            shifted = point + increments[i]
            point = shifted - min(0.0, shifted @ normal) / (normal @ normal) * normal
            increments[i] = shifted - point
    return point


@pytest.mark.parametrize("m", (2, 3, pytest.param(5, marks=pytest.mark.slow)))
def test_upgrad_against_dykstra(m):
    for seed in range(3):
        rows = rows_of(m, seed, n=2 * m)
        expected = np.mean([project_onto_dual_cone(rows, row) for row in rows], axis=0)
        np.testing.assert_allclose(
            weights_of(UPGrad(), rows) @ rows, expected, rtol=1e-6, atol=1e-6 * np.abs(rows).max()
        )


def nash_by_coordinates(gramian, sweeps=20_000):
    """Exact minimisation over one weight at a time: a_i^2 G_ii + a_i b_i = 1."""
    weights = 1 / np.sqrt(np.diagonal(gramian))
    for _ in range(sweeps):
        before = weights.copy()
        for i, row in enumerate(gramian):
            b = row @ weights - row[i] * weights[i]
            weights[i] = (-b + np.sqrt(b * b + 4 * row[i])) / (2 * row[i])
        if np.abs(weights / before - 1).max() < 1e-14:
            break
    return weights


@pytest.mark.parametrize("spread", (0.0, 2.0))
@pytest.mark.parametrize("m", (2, 3, 8))
def test_nash_against_coordinate_descent(m, spread):
    for seed in SEEDS:
        rows = rows_of(m, seed, spread=spread)
        expected = nash_by_coordinates(rows @ rows.T)
        np.testing.assert_allclose(weights_of(NashMTL(max_norm=None), rows), expected, rtol=1e-8)


def pcgrad_by_vectors(rows, orders):
    """The paper's algorithm on the gradients themselves."""
    total = np.zeros(rows.shape[1])
    for i, order in enumerate(orders):
        vector = rows[i].copy()
        for j in order:
            if j != i and vector @ rows[j] < 0:
                vector -= vector @ rows[j] / (rows[j] @ rows[j]) * rows[j]
        total += vector
    return total


@pytest.mark.parametrize("m", (2, 3, 7))
def test_pcgrad_against_vectors(m):
    for seed in SEEDS:
        rows = rows_of(m, seed)
        method = PCGrad(seed=seed)
        orders = torch.rand(
            m, m, generator=torch.Generator().manual_seed(seed), dtype=torch.float64
        ).argsort()
        expected = pcgrad_by_vectors(rows, orders.tolist())
        np.testing.assert_allclose(weights_of(method, rows) @ rows, expected, rtol=1e-9, atol=1e-9)


def test_pcgrad_meets_the_others_in_random_order():
    rows = np.array([[1.0, 0.0], [-1.0, 2.0], [-1.0, -1.0]])  # the first conflicts with both
    draws = {tuple(weights_of(PCGrad(seed=seed), rows).round(9)) for seed in range(30)}
    assert len(draws) > 1


# ----------------------------------------------------------------------------------------- TorchJD
# UPGrad, CAGrad and Nash-MTL of TorchJD 0.18 need quadprog, Clarabel and ECOS, which are not
# dependencies of the tests. They are also wrong where ours are tested hardest: with the default
# regularisation UPGrad conflicts for norms more than a factor of ten apart and is the mean for a
# Jacobian of norm below 1e-2, where CAGrad returns zero.


@pytest.mark.parametrize("m", (2, 3, pytest.param(6, marks=pytest.mark.slow)))
def test_mgda_against_torchjd(m):
    # Frank-Wolfe needs many iterations and similar norms; elsewhere it stops at ascent directions.
    peer = torchjd.MGDAWeighting(epsilon=1e-9, max_iters=20_000)
    for seed in range(2):
        rows = rows_of(m, seed, spread=0.0)
        gramian = rows @ rows.T
        theirs = peer(torch.from_numpy(gramian)).numpy()
        ours = weights_of(MGDA(), rows)
        assert ours @ gramian @ ours == pytest.approx(theirs @ gramian @ theirs, rel=1e-3)
        assert ours @ gramian @ ours <= theirs @ gramian @ theirs * (1 + 1e-12)


def test_mgda_against_torchjd_on_segments():
    # two tasks: one exact line search is exact
    peer = torchjd.MGDAWeighting(epsilon=1e-12, max_iters=1000)
    for seed in SEEDS:
        rows = rows_of(2, seed)
        theirs = peer(torch.from_numpy(rows @ rows.T)).numpy()
        np.testing.assert_allclose(weights_of(MGDA(), rows), theirs, atol=1e-5)


def test_pcgrad_against_torchjd():
    # two tasks: one order only, so nothing random is left
    for seed in SEEDS:
        rows = rows_of(2, seed)
        theirs = torchjd.PCGradWeighting()(torch.from_numpy(rows @ rows.T)).numpy()
        np.testing.assert_allclose(weights_of(PCGrad(), rows), theirs, rtol=1e-5)


def derivatives(scalarizer, losses):
    losses = losses.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(scalarizer(losses), losses)
    return gradient


@pytest.mark.parametrize("scale", ["min", "median", "rmse"])
def test_aligned_mtl_against_torchjd(scale):
    rng = np.random.default_rng(4)
    rows = rng.normal(size=(5, 9))
    peer = torchjd.AlignedMTLWeighting(scale_mode=scale)(torch.from_numpy(rows @ rows.T))
    ours = AlignedMTL(scale=scale).weights(torch.from_numpy(rows @ rows.T))
    torch.testing.assert_close(ours, peer, rtol=1e-5, atol=0)


def test_gls_against_torchjd():
    losses = torch.tensor([0.3, 2.0, 7.0], dtype=torch.float64)
    expected = derivatives(torchjd_losses.GeometricMean(), losses)
    torch.testing.assert_close(GLS().weights(losses), expected, rtol=1e-5, atol=0)


def test_uw_against_torchjd():
    losses = torch.tensor([0.3, 2.0, 7.0])
    weighting, peer = UW(init=0.4), torchjd_losses.UW(3)
    weighting.setup([*"abc"])
    with torch.no_grad():
        for parameter in peer.parameters():
            parameter.fill_(0.4)
    torch.testing.assert_close(
        weighting.weights(losses).float(), derivatives(peer, losses), rtol=1e-5, atol=0
    )
    assert weighting.penalty(losses).item() == pytest.approx(peer(losses).item(), rel=1e-5)


def test_dwa_against_torchjd():
    weighting, peer = DWA(), torchjd_losses.DWA()
    weighting.setup([*"abc"])
    draw = torch.Generator().manual_seed(0)
    for epoch in range(5):
        for _ in range(3):
            losses = torch.rand(3, generator=draw, dtype=torch.float64) + 0.1
            evaluation = Evaluation.from_jacobian(torch.eye(3, dtype=torch.float64), losses)
            evaluation.epoch = epoch
            expected = derivatives(peer, losses)
            torch.testing.assert_close(weighting.update(evaluation), expected, rtol=1e-5, atol=0)
        peer.step()
