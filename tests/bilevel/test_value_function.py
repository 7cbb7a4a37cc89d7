"""The value function: its direction by hand, its weights by independent solvers, its solution."""

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from torch.nn import Parameter

from moml import BilevelProblem, fit
from moml.bilevel import Along, Bilevel, ConstrainedMGDA, InnerSGD, Unrolled, ValueFunction
from moml.bilevel._constrained_min_norm import constrained_min_norm_weights
from moml.weighting import EW, MGDA, PCGrad


class Quadratic(BilevelProblem):
    """Lower ½θ'Aθ - θ'Bω; upper ½|θ - a_k|² + ½μ|ω - b_k|²: objectives see both levels."""

    def __init__(self, *, K=3, n=4, p=6, mu=0.1, tied=False, seed=0):
        draw = torch.Generator().manual_seed(seed)

        def normal(*shape):
            return torch.randn(*shape, generator=draw, dtype=torch.float64)

        root = normal(p, p)
        self.A = root @ root.T / p + torch.eye(p, dtype=torch.float64)
        self.B, self.a, self.b, self.mu = normal(p, n), normal(K, p), normal(K, n), mu
        self.start = normal(p)
        self.net = torch.nn.Module()
        self.net.omega = Parameter(normal(n))
        self.tied = tied

    @property
    def tasks(self):
        return tuple(f"F{k}" for k in range(len(self.a)))

    @property
    def module(self):
        return self.net

    def upper_parameters(self):
        return {"omega": self.net.omega}

    def lower_init(self, omega, batch, previous):
        if self.tied:
            return {"theta": self.start + omega["omega"].sum()}
        return previous or {"theta": self.start}

    def lower_loss(self, theta, omega, batch):
        t = theta["theta"]
        return 0.5 * t @ self.A @ t - t @ self.B @ omega["omega"]

    def upper_losses(self, theta, omega, batch):
        t, w = theta["theta"], omega["omega"]
        return {
            name: 0.5 * (t - a).square().sum() + 0.5 * self.mu * (w - b).square().sum()
            for name, a, b in zip(self.tasks, self.a, self.b, strict=True)
        }

    def best(self, weights):
        """The omega that minimises the weighted sum of objectives at the lower optimum."""
        M = torch.linalg.solve(self.A, self.B)
        H = M.T @ M + self.mu * torch.eye(M.shape[1], dtype=M.dtype)
        return torch.linalg.solve(H, M.T @ (weights @ self.a) + self.mu * (weights @ self.b))


def direction_by_hand(problem, weights, *, rho, eta, steps):
    """d_omega and d_theta in closed form."""
    t, w = problem.start, problem.net.omega.detach()
    end = t.clone()
    for _ in range(steps):
        end = end - eta * (problem.A @ end - problem.B @ w)
    F = torch.stack(
        [torch.cat([problem.mu * (w - b), t - a])
         for a, b in zip(problem.a, problem.b, strict=True)]
    )  # fmt: skip
    q = torch.cat([-problem.B.T @ (t - end), problem.A @ t - problem.B @ w])
    d = weights @ F
    nu = max(rho - float(d @ q) / float(q @ q), 0.0)
    return F, q, d + nu * q, nu


@pytest.mark.parametrize("rho", [0.0, 0.1, 2.0])
@pytest.mark.parametrize("formed", [False, True])
def test_the_direction_is_the_papers(rho, formed):
    problem = Quadratic()
    oracle = Bilevel(InnerSGD(0.1, steps=5), ValueFunction(rho, step_size=0.25))
    evaluation = oracle(problem, None)
    weights = torch.tensor([0.2, 0.5, 0.3], dtype=torch.float64)
    F, q, d, _ = direction_by_hand(problem, weights, rho=rho, eta=0.1, steps=5)
    if formed:
        torch.testing.assert_close(evaluation.gramian, F @ F.T, rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(evaluation.jacobian, F, rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(evaluation.slopes, F @ q, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(evaluation.pullback(weights), d, rtol=1e-12, atol=1e-12)
    evaluation.apply(weights)
    n = problem.net.omega.numel()
    torch.testing.assert_close(problem.net.omega.grad, d[:n], rtol=1e-12, atol=1e-12)
    oracle.advance(problem)
    moved = oracle.carry.previous()["theta"]
    torch.testing.assert_close(moved, problem.start - 0.25 * d[n:], rtol=1e-12, atol=1e-12)


def test_a_direction_given_as_a_whole_gets_the_constraints_share_too():
    problem = Quadratic()
    evaluation = Bilevel(InnerSGD(0.1, steps=5), ValueFunction(2.0))(problem, None)
    weights = torch.tensor([0.2, 0.5, 0.3], dtype=torch.float64)
    _, _, d, nu = direction_by_hand(problem, weights, rho=2.0, eta=0.1, steps=5)
    assert nu > 0
    evaluation.assign(weights @ evaluation.jacobian)
    n = problem.net.omega.numel()
    torch.testing.assert_close(problem.net.omega.grad, d[:n], rtol=1e-12, atol=1e-12)


def test_a_stationary_lower_level_does_not_constrain():
    problem = Quadratic()
    problem.start = torch.linalg.solve(problem.A, problem.B @ problem.net.omega.detach())
    problem.A, problem.B = torch.eye(6).double(), torch.zeros(6, 4).double()
    problem.start = torch.zeros(6).double()
    evaluation = Bilevel(InnerSGD(0.1, steps=3), ValueFunction(0.5))(problem, None)
    assert evaluation.steepness == 0.0
    weights = ConstrainedMGDA(normalize=False)
    weights.setup(problem.tasks)
    found = weights.update(evaluation)
    torch.testing.assert_close(found, MGDA().weights(evaluation.gramian))
    grad = found @ evaluation.jacobian
    torch.testing.assert_close(problem.net.omega.grad, grad[:4])


# The weights ----------------------------------------------------------------------------------


def value(weights, G, c, s, rho, linear=2.0):
    nu = max(rho - weights @ c / s, 0.0)
    return weights @ G @ weights + 2 * nu * (weights @ c) + nu * nu * s - linear * nu * rho * s


@pytest.mark.parametrize(
    ("F", "q", "exact", "authors"),
    [
        # d = (-1, 1): both gain 1; with 1 for 2 weights are equal
        ([[-1.0, 0.0], [0.0, 1.0]], [-1.0, 0.0], 1.0, 1 / 2),
        # d = (-4/3, 2/3)
        ([[-1.0, 0.0], [0.0, 2.0]], [-1.0, 1.0], 4 / 3, 7 / 6),
    ],
)
def test_the_worst_objective_gains_most_under_the_constraint(F, q, exact, authors):
    F, q = np.array(F), np.array(q)
    G, c, s = F @ F.T, F @ q, float(q @ q)
    for linear, gain in ((2.0, exact), (1.0, authors)):
        weights = constrained_min_norm_weights(G, c, s, 1.0, linear=linear)
        direction = weights @ F + max(1.0 - weights @ c / s, 0.0) * q
        assert direction @ q >= s - 1e-12
        assert (F @ direction).min() == pytest.approx(gain)


def test_the_direction_is_the_primal_problems():
    """min over δ of max ⟨g, δ⟩ + |δ|²/2 under ⟨q, δ⟩ <= -ρ|q|², by another solver."""
    for seed in range(12):
        F, q, rho = sampled(seed)
        G, c, s = F @ F.T, F @ q, float(q @ q)
        weights = constrained_min_norm_weights(G, c, s, rho)
        d = weights @ F + max(rho - weights @ c / s, 0.0) * q
        found = minimize(
            lambda x: x[-1] + 0.5 * x[:-1] @ x[:-1],
            np.append(-rho * q, np.abs(F).sum()),
            jac=lambda x: np.append(x[:-1], 1.0),
            method="SLSQP",
            constraints=[
                {"type": "ineq", "fun": lambda x, F=F: x[-1] - F @ x[:-1]},
                {"type": "ineq", "fun": lambda x, q=q, b=rho * s: -q @ x[:-1] - b},
            ],
            options={"ftol": 1e-15, "maxiter": 500},
        )
        assert 0.5 * d @ d + (F @ -d).max() <= found.fun + 1e-7 * (1 + abs(found.fun)), seed


def sampled(seed):
    """Gradients and a constraint, of which each region and the face between get a share."""
    draw = np.random.default_rng(seed)
    m, n = int(draw.integers(2, 6)), int(draw.integers(2, 9))
    F, q = draw.normal(size=(m, n)), draw.normal(size=n)
    F += draw.normal() * q / 2
    return F, q, float(draw.choice([0.0, 0.1, 0.5, 1.0]))


@pytest.mark.parametrize("linear", (0.0, 1.0, 2.0))
def test_the_weights_are_as_good_as_any_solvers(linear):
    regions = {"above": 0, "below": 0, "face": 0}
    for seed in range(40):
        F, q, rho = sampled(seed)
        G, c, s = F @ F.T, F @ q, float(q @ q)
        found = constrained_min_norm_weights(G, c, s, rho, linear=linear)
        assert found.min() >= -1e-12
        assert abs(found.sum() - 1) < 1e-12
        mine, multiplier = value(found, G, c, s, rho, linear), rho - found @ c / s
        kind = "face" if abs(multiplier) < 1e-9 else "above" if multiplier > 0 else "below"
        regions[kind] += 1
        m = len(F)
        starts = [np.full(m, 1 / m), 0.9 * np.eye(m)[0] + 0.1 / m]
        best = min(
            minimize(
                value, start, args=(G, c, s, rho, linear), method="SLSQP", bounds=[(0, 1)] * m,
                constraints={"type": "eq", "fun": lambda w: w.sum() - 1},
                options={"ftol": 1e-14, "maxiter": 300},
            ).fun
            for start in starts
        )  # fmt: skip
        assert mine <= best + 1e-9 * max(best, 1.0), (seed, kind, mine, best)
    assert min(regions["above"], regions["below"]) >= 4, regions  # every case was met
    # with 2 both regions' functions meet smoothly, and the face is no special place
    assert regions["face"] >= {0.0: 4, 1.0: 2, 2.0: 0}[linear], regions


def test_the_weights_are_the_best_on_a_fine_grid():
    grid = np.array([[i, j, 200 - i - j] for i in range(201) for j in range(201 - i)]) / 200
    for seed in range(100, 110):
        draw = np.random.default_rng(seed)
        F, q, rho = draw.normal(size=(3, 4)), draw.normal(size=4), 0.3
        G, c, s = F @ F.T, F @ q, float(q @ q)
        found = value(constrained_min_norm_weights(G, c, s, rho), G, c, s, rho)
        values = [value(w, G, c, s, rho) for w in grid]
        assert found <= min(values) + 1e-12
        assert found >= min(values) - 0.1 * max(1.0, min(values))  # and it is attained


def test_smoothing_follows_the_epoch_and_survives_absence():
    problem = Quadratic()
    weighting = ConstrainedMGDA()
    weighting.setup(problem.tasks)
    oracle = Bilevel(InnerSGD(0.1, steps=5), ValueFunction(0.1))
    first = oracle(problem, None)
    weighting.update(first)
    before = weighting.smoothed.clone()
    assert before.sum() == pytest.approx(1)
    problem.net.omega.data += 3.0
    later = oracle(problem, None)
    later.epoch = 15
    weighting.update(later)
    G = later.gramian
    norms = G.diagonal().sqrt()
    best = constrained_min_norm_weights(
        (G / norms.outer(norms)).numpy(), (later.slopes / norms).numpy(), later.steepness, 0.1
    )
    torch.testing.assert_close(
        weighting.smoothed, (1 - 16**-0.75) * before + 16**-0.75 * torch.from_numpy(best)
    )


# Solutions ------------------------------------------------------------------------------------


def run(problem, weighting, hypergradient, *, steps, lr, **options):
    oracle = Bilevel(InnerSGD(0.3, steps=10), hypergradient, **options)
    fit(problem, oracle, weighting, torch.optim.SGD([problem.net.omega], lr), [None], steps=steps)
    return problem.net.omega.detach(), oracle


@pytest.mark.slow
def test_bome_ends_near_the_bilevel_solution():
    """Equal weights: a scalar bi-level problem whose solution is known."""
    problem = Quadratic()
    weights = torch.full((3,), 1 / 3, dtype=torch.float64)
    best = problem.best(weights)
    start = float((problem.net.omega.detach() - best).norm())
    omega, _ = run(
        problem, EW(), ValueFunction(1.0, step_size=0.03), steps=600, lr=0.03
    )  # fmt: skip
    assert float((omega - best).norm()) < 0.05 * start


@pytest.mark.parametrize(
    "weighting",
    [ConstrainedMGDA, *(pytest.param(w, marks=pytest.mark.slow) for w in (MGDA, PCGrad))],
)
def test_any_weighting_lowers_all_objectives_and_keeps_the_lower_level(weighting):
    problem = Quadratic(mu=1.0)
    problem.net.omega.data += 5.0
    M = torch.linalg.solve(problem.A, problem.B)

    def objectives():
        w = problem.net.omega.detach()
        return problem.upper_losses({"theta": M @ w}, {"omega": w}, None)

    before = objectives()
    _, oracle = run(problem, weighting(), ValueFunction(0.5, step_size=0.05), steps=250, lr=0.05)
    after = objectives()
    assert all(after[k] < before[k] for k in before)
    end = oracle.carry.previous()["theta"]
    gap = (end - M @ problem.net.omega.detach()).norm()
    assert gap < 0.2 * (problem.start - M @ problem.net.omega.detach()).norm()


def test_an_optimizer_may_move_the_lower_variables():
    """Along(SGD) is the step of the method's own."""
    found = []
    for options in ({}, {"alternate": Along(lambda p: torch.optim.SGD(p, 0.05))}):
        problem = Quadratic()
        run(problem, MGDA(), ValueFunction(0.5, step_size=0.05), steps=20, lr=0.05, **options)
        found.append(problem.net.omega.detach())
    assert torch.equal(*found)


def test_what_it_needs_is_said():
    problem = Quadratic()
    with pytest.raises(ValueError, match="at least one step for ValueFunction"):
        Bilevel(InnerSGD(0.1, steps=0), ValueFunction())(problem, None)
    with pytest.raises(ValueError, match="`upper_bound` should be off with ValueFunction"):
        Bilevel(InnerSGD(0.1), ValueFunction(), upper_bound=True)
    with pytest.raises(ValueError, match="`rho` should not be negative"):
        ValueFunction(-0.1)
    with pytest.raises(ValueError, match="`step_size` should be positive"):
        ValueFunction(step_size=0.0)
    with pytest.raises(ValueError, match=r"should not be a function of the upper parameters"):
        Bilevel(InnerSGD(0.1), ValueFunction())(Quadratic(tied=True), None)
    weighting = ConstrainedMGDA()
    weighting.setup(problem.tasks)
    with pytest.raises(ValueError, match="ConstrainedMGDA only over"):
        weighting.update(Bilevel(InnerSGD(0.1), Unrolled())(problem, None))
    along = Bilevel(InnerSGD(0.1), Unrolled(), alternate=Along(lambda p: torch.optim.SGD(p, 0.1)))
    along(problem, None)
    with pytest.raises(ValueError, match="found no direction"):
        along.advance(problem)
