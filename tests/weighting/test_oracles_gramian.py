"""More Gramian methods against independent slow solvers, on vectors rather than Gramians."""

import numpy as np
import pytest
import torch
from scipy.optimize import brentq, minimize

from moml import Evaluation
from moml.weighting import (
    EPO,
    IMTL,
    MGDA,
    PCD,
    PMGDA,
    PMTL,
    ConFIG,
    DualProj,
    FairGrad,
    GradVac,
    UPGrad,
)
from tests.weighting.test_oracles import project_onto_dual_cone, rows_of, weights_of

SEEDS = range(4)


def bound_weights(method, rows, losses=None):
    method.setup([str(i) for i in range(len(rows))])
    given = None if losses is None else torch.from_numpy(losses)
    return method.weights(torch.from_numpy(rows @ rows.T), given).numpy()


def fair_by_coordinates(gramian, power, sweeps=3000):
    """One weight at a time by bisection: G_ii a + b = a^(-p)."""
    weights = np.diagonal(gramian) ** (-1 / (1 + power))
    for _ in range(sweeps):
        before = weights.copy()
        for i, row in enumerate(gramian):
            b = row @ weights - row[i] * weights[i]
            low, high = weights[i], weights[i]
            while row[i] * low + b > low**-power:
                low /= 2
            while row[i] * high + b < high**-power:
                high *= 2
            weights[i] = brentq(lambda a, g=row[i], b=b: g * a + b - a**-power, low, high,
                                xtol=1e-300, rtol=1e-14)  # fmt: skip
        if np.abs(weights / before - 1).max() < 1e-13:
            break
    return weights


@pytest.mark.parametrize("alpha", (0.5, 1.0, 2.0, 5.0))
@pytest.mark.parametrize("m", (2, 3, 6))
def test_fair_grad_against_coordinates(m, alpha):
    for seed in SEEDS:
        rows = rows_of(m, seed, n=2 * m)
        expected = fair_by_coordinates(rows @ rows.T, 1 / alpha)
        np.testing.assert_allclose(weights_of(FairGrad(alpha=alpha), rows), expected, rtol=1e-7)


@pytest.mark.parametrize("m", (2, 3, 5))
def test_dual_proj_against_dykstra(m):
    for seed in range(3):
        rows = rows_of(m, seed, n=2 * m)
        expected = project_onto_dual_cone(rows, rows.mean(0))
        np.testing.assert_allclose(
            weights_of(DualProj(), rows) @ rows, expected, rtol=1e-6, atol=1e-6 * np.abs(rows).max()
        )


@pytest.mark.parametrize("m", (2, 3, 5))
def test_pcd_against_slsqp_on_vectors(m):
    for seed in SEEDS:
        rows = rows_of(m, seed, spread=0.5)
        units = rows / np.linalg.norm(rows, axis=1, keepdims=True)
        result = minimize(
            lambda d, u=units: 0.5 * (d - u[0]) @ (d - u[0]), units[0], method="SLSQP",
            jac=lambda d, u=units: d - u[0],
            constraints={"type": "ineq", "fun": lambda d, u=units: u[1:] @ d - 0.3,
                         "jac": lambda d, u=units: u[1:]},
            options={"ftol": 1e-15, "maxiter": 1000},
        )  # fmt: skip
        expected = result.x * np.linalg.norm(rows[0]) / np.linalg.norm(result.x)
        found = bound_weights(PCD(tau=0.3), rows) @ rows
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5 * np.abs(rows).max())


def grad_vac_by_vectors(rows, orders, targets, beta):
    """The paper's algorithm on the gradients themselves; moves ``targets``."""
    total = np.zeros(rows.shape[1])
    for i, order in enumerate(orders):
        vector = rows[i].copy()
        for j in order:
            if j == i:
                continue
            size, other = np.linalg.norm(vector), np.linalg.norm(rows[j])
            cosine, target = vector @ rows[j] / size / other, targets[i, j]
            if cosine < target:
                sine, aim = np.sqrt(1 - cosine**2), np.sqrt(1 - target**2)
                vector = vector + size * (target * sine - cosine * aim) / (other * aim) * rows[j]
                assert vector @ rows[j] / np.linalg.norm(vector) / other == pytest.approx(target)
            targets[i, j] = (1 - beta) * target + beta * cosine
        total += vector
    return total


@pytest.mark.parametrize("m", (2, 3, 7))
def test_grad_vac_against_vectors_over_steps(m):
    method, targets = GradVac(seed=m), np.zeros((m, m))
    method.setup([str(i) for i in range(m)])
    draw = torch.Generator().manual_seed(m)
    for seed in SEEDS:
        rows = rows_of(m, seed)
        orders = torch.rand(m, m, generator=draw, dtype=torch.float64).argsort().tolist()
        expected = grad_vac_by_vectors(rows, orders, targets, 0.5)
        found = method.weights(torch.from_numpy(rows @ rows.T)).numpy() @ rows
        np.testing.assert_allclose(found, expected, rtol=1e-8, atol=1e-8 * np.abs(expected).max())


@pytest.mark.parametrize("m", (2, 3, 6))
def test_imtl_and_config_on_the_jacobian(m):
    for seed in SEEDS:
        rows = rows_of(m, seed, spread=0.3)
        units = rows / np.linalg.norm(rows, axis=1, keepdims=True)
        # IMTL as in the paper: alpha = g1 U' (D U')^-1 for the tasks after the first
        differences, unit_differences = rows[0] - rows[1:], units[0] - units[1:]
        rest = rows[0] @ unit_differences.T @ np.linalg.inv(differences @ unit_differences.T)
        expected = np.concatenate([[1 - rest.sum()], rest])
        if expected.sum() > 0.05 * np.abs(expected).sum():
            np.testing.assert_allclose(weights_of(IMTL(), rows), expected, rtol=1e-7)
        # ConFIG by the pseudoinverse of the unit gradients
        direction = np.linalg.pinv(units) @ np.ones(m)
        direction /= np.linalg.norm(direction)
        expected = (rows @ direction).sum() * direction
        np.testing.assert_allclose(weights_of(ConFIG(), rows) @ rows, expected, rtol=1e-7)


def test_imtl_never_turns_round():
    # one share is negative and its gradient short: the paper's sum is negative, the step an ascent
    units = np.array([[1.0, 0.0], [0.6, 0.8], [0.0, 1.0]]) @ np.array([[1, 0, 0.0], [0, 1, 0]])
    units = np.hstack([units[:, :2], [[0.1], [0.0], [0.1]]])
    units /= np.linalg.norm(units, axis=1, keepdims=True)
    shares = np.linalg.solve(units @ units.T, np.ones(3))
    assert shares[1] < 0
    rows = units * np.array([[1.0], [0.02], [1.0]])
    paper = shares / np.linalg.norm(rows, axis=1)
    assert paper.sum() < 0
    direction = weights_of(IMTL(), rows) @ rows
    assert (rows @ direction > 0).all()
    assert (rows @ (paper / paper.sum() @ rows) < 0).all()


@pytest.mark.parametrize("m", (2, 3))
def test_epo_against_a_grid_on_the_simplex(m):
    steps = np.linspace(0, 1, 401)
    if m == 2:
        grid = np.stack([steps, 1 - steps], axis=1)
    else:
        a, b = np.meshgrid(steps, steps)
        inside = a + b <= 1
        grid = np.stack([a[inside], b[inside], 1 - a[inside] - b[inside]], axis=1)
    for seed in range(8):
        rows = rows_of(m, seed, spread=0.2)
        gramian = rows @ rows.T / np.max(np.diagonal(rows @ rows.T))
        losses = np.random.default_rng(seed).uniform(0.2, 2.0, m)
        heights = losses / m
        shares = heights / heights.sum()
        anchor = (np.log(m * shares) - shares @ np.log(m * shares)) / m
        gains = gramian @ anchor
        floors = np.zeros(m)
        if (gains > 0).any():
            floors = np.where(gains > 0, -np.inf, gains)
            floors[heights.argmax()] = 0
        allowed = (grid @ gramian >= floors - 1e-12).all(1)
        weights = bound_weights(EPO(), rows, losses) / m
        if not allowed.any() or shares @ np.log(m * shares) <= 1e-3:  # balanced: other program
            continue
        assert (gramian @ weights >= floors - 1e-7).all()
        assert weights @ gains >= (grid[allowed] @ gains).max() - 1e-9


def test_pmtl_reduces_the_violated_constraints():
    rows = rows_of(3, 1, spread=0.2)
    losses = np.array([2.0, 0.5, 0.4])
    method = PMTL(preference=[0.1, 0.1, 0.8], others=[[1, 0, 0], [0, 1, 0], [0.3, 0.4, 0.3]])
    direction = bound_weights(method, rows, losses) @ rows
    cone = np.array([[1, 0, 0], [0, 1, 0], [0.3, 0.4, 0.3]])
    cone /= np.linalg.norm(cone, axis=1, keepdims=True)
    ray = np.array([0.1, 0.1, 0.8]) / np.linalg.norm([0.1, 0.1, 0.8])
    violated = (cone - ray) @ losses > 0
    assert violated.any()
    assert (((cone - ray) @ rows @ direction)[violated] > 0).all()


def away_from(ray, losses):
    """h = 1 - cos and its derivative by the losses, by central differences."""

    def value(at):
        return 1 - at @ ray / np.linalg.norm(at) / np.linalg.norm(ray)

    steps = 1e-6 * np.eye(len(losses))
    return value(losses), np.array([(value(losses + e) - value(losses - e)) / 2e-6 for e in steps])


@pytest.mark.parametrize("seed", range(6))
def test_pmgda_corrects_as_the_best_point_of_a_grid(seed):
    rows = rows_of(2, seed, spread=0.3, n=4)
    losses, ray = np.array([1.0, 0.4]), np.array([0.3, 0.7])
    value, slope = away_from(ray, losses)
    assert value > 1e-4
    steepest = slope @ rows
    units = np.vstack([rows, steepest])
    units /= np.linalg.norm(units, axis=1, keepdims=True)
    a, b = np.meshgrid(np.linspace(0, 1, 401), np.linspace(0, 1, 401))
    mu = np.stack([a, b, 1 - a - b], -1)[a + b <= 1]
    directions = -mu @ units
    allowed = directions @ steepest <= -0.95 * np.linalg.norm(steepest)
    best = (directions @ rows.T).max(1)[allowed].min()
    found = -bound_weights(PMGDA(preference=ray), rows, losses) @ rows
    found /= np.linalg.norm(rows, axis=1).min()  # units shrink to the smallest gradient
    assert found @ steepest <= -0.95 * np.linalg.norm(steepest) * (1 - 1e-7)
    assert (rows @ found).max() <= best + 1e-9
    assert (rows @ found).max() >= best - 0.02 * np.abs(rows).max()


@pytest.mark.parametrize("m", (2, 3, 5))
def test_pmgda_predicts_in_the_tangent_space(m):
    for seed in range(3):
        rows = rows_of(m, seed, n=2 * m)
        ray = np.arange(1.0, m + 1)
        losses = ray + 0.005 * np.random.default_rng(seed).standard_normal(m)
        value, slope = away_from(ray, losses)
        assert value <= 1e-4
        direction = bound_weights(PMGDA(preference=ray), rows, losses) @ rows
        normal = slope @ rows / np.linalg.norm(slope @ rows)
        flat = rows - np.outer(rows @ normal, normal)
        size = np.linalg.norm(rows, axis=1).max()
        assert abs(direction @ normal) <= 1e-4 * size  # h's derivative here is numerical
        expected = weights_of(MGDA(), flat) @ flat
        np.testing.assert_allclose(direction, expected, atol=1e-3 * size)


@pytest.mark.parametrize("method", (UPGrad, DualProj))
@pytest.mark.parametrize("m", (2, 3, 8, 32))
def test_no_task_loses_with_norms_over_eight_decades(method, m):
    rng = np.random.default_rng(m)
    for _ in range(20):
        rows = rng.standard_normal((m, m + 5)) * 10.0 ** rng.uniform(-4, 4, (m, 1))
        direction = weights_of(method(), rows) @ rows
        cosines = rows @ direction / np.linalg.norm(rows, axis=1) / np.linalg.norm(direction)
        assert cosines.min() >= -1e-9


@pytest.mark.parametrize("alpha", (0.5, 1.0, 2.0))
@pytest.mark.parametrize("m", (2, 8, 32, 64))
def test_fair_grad_residual(m, alpha):
    rng = np.random.default_rng(m)
    for spread in (0.0, 1.0, 2.0):
        for scale in (1e-6, 1.0, 1e6):
            rows = (
                scale * rng.standard_normal((m, 2 * m)) * 10 ** rng.uniform(-spread, spread, (m, 1))
            )
            gramian = rows @ rows.T
            weights = weights_of(FairGrad(alpha=alpha), rows)
            assert (weights > 0).all()
            assert np.abs(gramian @ weights * weights ** (1 / alpha) - 1).max() <= 1e-6


def test_one_gramian_only_for_methods_with_state():
    method = GradVac()
    method.setup([*"ab"])
    with pytest.raises(ValueError, match=r"`gramian` should be one matrix \(m, m\) for GradVac"):
        method.weights(torch.eye(2).expand(3, 2, 2))


def test_an_evaluation_feeds_losses_to_preference_methods():
    rows = torch.tensor([[1.0, 0.0], [-1.0, 1.0]], dtype=torch.float64)
    method = EPO()
    method.setup(["0", "1"])
    with pytest.raises(ValueError, match="`losses` should be given to EPO"):
        method.weights(rows @ rows.mT)
    with pytest.raises(ValueError, match="`losses` should not be negative for EPO"):
        method.update(Evaluation.from_jacobian(rows, torch.tensor([1.0, -1.0])))
