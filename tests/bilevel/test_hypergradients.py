"""Every hypergradient against closed forms, finite differences and each other, in float64."""

import pytest
import torch
from torch import nn

from moml.bilevel import (
    SOBA,
    Bilevel,
    BilevelProblem,
    BlockConjugateGradient,
    Checkpointed,
    Cholesky,
    ConjugateGradient,
    FiniteDifference,
    FirstOrder,
    ForwardMode,
    InnerAdagrad,
    InnerAdam,
    InnerAdamW,
    InnerRMSprop,
    InnerSGD,
    Neumann,
    Nystrom,
    Truncated,
    Unrolled,
)
from tasks import LinearMAML, QuadraticBilevel

D = torch.float64
STEPWISE = {"unrolled": Unrolled, "checkpointed": Checkpointed, "forward": ForwardMode}
IMPLICIT = {
    "cg": lambda: ConjugateGradient(40),
    "block cg": lambda: BlockConjugateGradient(40),
    "cholesky": Cholesky,
    "neumann": lambda: Neumann(120),
}
RULES = {
    "sgd": lambda **k: InnerSGD(0.2, **k),
    "momentum": lambda **k: InnerSGD(0.1, momentum=0.8, **k),
    "nesterov": lambda **k: InnerSGD(0.1, momentum=0.8, nesterov=True, weight_decay=0.1, **k),
    "adam": lambda **k: InnerAdam(0.1, **k),
    "adamw": lambda **k: InnerAdamW(0.1, weight_decay=0.1, **k),
    "rmsprop": lambda **k: InnerRMSprop(0.05, **k),
    "adagrad": lambda **k: InnerAdagrad(0.2, **k),
}


def error(found, expected):
    return float((found - expected).norm() / expected.norm())


@pytest.mark.parametrize("objectives", [1, 2, 3, 8])
@pytest.mark.parametrize("method", [*STEPWISE, *IMPLICIT])
def test_at_the_lower_optimum_all_exact_methods_give_the_analytic_rows(method, objectives):
    problem = QuadraticBilevel(objectives=objectives, kappa=4.0)
    make = {**STEPWISE, **IMPLICIT}[method]
    evaluation = Bilevel(InnerSGD(1.0, steps=100), make())(problem, None)
    exact = problem.hypergradients()
    assert error(evaluation.jacobian, exact) <= 1e-10
    weights = torch.linspace(0.5, 2.0, objectives, dtype=D)
    fresh = Bilevel(InnerSGD(1.0, steps=100), make())(problem, None)
    assert error(fresh.pullback(weights), weights @ exact) <= 1e-10
    assert error(evaluation.gramian, exact @ exact.T) <= 1e-10


@pytest.mark.parametrize("objectives", [1, 3])
@pytest.mark.parametrize("method", STEPWISE)
@pytest.mark.parametrize("steps", [1, 7])
def test_few_steps_are_differentiated_as_they_are(method, steps, objectives):
    problem = QuadraticBilevel(objectives=objectives)
    rows = Bilevel(InnerSGD(0.5, steps=steps), STEPWISE[method]())(problem, None).jacobian
    assert error(rows, problem.unrolled(steps, 0.5)) <= 1e-10


@pytest.mark.parametrize("k", [1, 4, 20])
def test_truncated_differentiates_the_last_steps(k):
    problem = QuadraticBilevel()
    rows = Bilevel(InnerSGD(0.5, steps=20), Truncated(k))(problem, None).jacobian
    assert error(rows, problem.unrolled(20, 0.5, differentiated=k)) <= 1e-10


def test_truncated_equals_a_neumann_series_at_the_optimum():
    problem = QuadraticBilevel(kappa=4.0)
    for k in (1, 5, 30):
        truncated = Bilevel(InnerSGD(0.9, steps=120), Truncated(k))(problem, None).jacobian
        series = Bilevel(InnerSGD(0.9, steps=120), Neumann(k, on_invalid="ignore"))(
            problem, None
        ).jacobian
        assert error(series, truncated) <= 1e-12


@pytest.mark.parametrize("method", ["unrolled", "checkpointed", "forward"])
def test_the_start_of_linear_maml(method):
    problem = LinearMAML()
    rows = Bilevel(InnerSGD(0.3, steps=5), STEPWISE[method]())(problem, None).jacobian
    assert error(rows, problem.hypergradients(5, 0.3)) <= 1e-10


def test_finite_differences_of_one_step_and_its_start():
    quadratic, maml = QuadraticBilevel(), LinearMAML()
    for problem, exact in (
        (quadratic, quadratic.unrolled(1, 0.5)),
        (maml, maml.hypergradients(1, 0.5)),
    ):
        rows = Bilevel(InnerSGD(0.5, steps=1), FiniteDifference())(problem, None).jacobian
        assert error(rows, exact) <= 1e-7  # both lower losses are quadratic: only rounding is left


def test_first_order_is_the_gradient_at_the_adapted_variables():
    problem = LinearMAML()
    rows = Bilevel(InnerSGD(0.3, steps=5), FirstOrder())(problem, None).jacobian
    assert error(rows @ problem.derivative(5, 0.3), problem.hypergradients(5, 0.3)) <= 1e-10


def test_a_nystrom_sketch_of_full_rank_is_exact_as_the_damping_vanishes():
    problem = QuadraticBilevel()
    errors = [
        error(
            Bilevel(InnerSGD(1.0, steps=100), Nystrom(10, damping=d))(problem, None).jacobian,
            problem.hypergradients(),
        )
        for d in (1e-2, 1e-4, 1e-6)
    ]
    assert errors[1] < errors[0] / 50
    assert errors[2] < errors[1] / 50


def test_block_conjugate_gradients_need_a_third_of_the_rounds():
    problem = QuadraticBilevel(20, 30, 3, kappa=50.0)
    exact = problem.hypergradients()
    found = {}
    for method in (BlockConjugateGradient, ConjugateGradient):
        solver = method(10, linear_tolerance=0.0, on_invalid="ignore")
        oracle = Bilevel(InnerSGD(1.0, steps=1500), solver)
        found[method] = error(oracle(problem, None).jacobian, exact)
        assert oracle.certificates[0].products == 10
    assert found[BlockConjugateGradient] <= 1e-8
    assert found[ConjugateGradient] > 1e-3


def test_dependent_objectives_are_no_obstacle_to_block_conjugate_gradients():
    problem = QuadraticBilevel(objectives=3)
    problem.a[2], problem.a[1] = problem.a[0], 2 * problem.a[0]
    rows = Bilevel(InnerSGD(1.0, steps=100), BlockConjugateGradient())(problem, None).jacobian
    assert error(rows, problem.hypergradients()) <= 1e-10


class Tanh(BilevelProblem):
    """A small network whose input scale and step-wise weights are upper variables."""

    tasks = ("fit", "size")

    def __init__(self, looks=None):
        torch.manual_seed(0)
        self.x, self.y = torch.randn(9, 3, dtype=D), torch.randn(9, dtype=D)
        self.looks = looks
        self.upper = nn.Module()
        self.upper.scale = nn.Parameter(torch.tensor([1.0, 0.5, 2.0], dtype=D))
        self.upper.start = nn.Parameter(torch.randn(3, dtype=D))

    @property
    def module(self):
        return self.upper

    def upper_parameters(self):
        return {"scale": self.upper.scale, "start": self.upper.start}

    def lower_init(self, omega, batch, previous):
        return {"w": omega["start"] * 1.0, "b": torch.zeros((), dtype=D)}

    def lower_loss(self, theta, omega, batch):
        prediction = torch.tanh(self.x * omega["scale"] @ theta["w"] + theta["b"])
        return (prediction - self.y).square().mean() + 1e-2 * (
            omega["start"] - theta["w"]
        ).square().sum()

    def upper_losses(self, theta, omega, batch):
        prediction = torch.tanh(self.x @ theta["w"])
        return {
            "fit": (prediction + self.y).square().mean(),
            "size": theta["w"].square().sum() + theta["b"] ** 2 + omega["scale"].sum(),
        }

    def step_weights(self, steps):
        return self.looks or {steps: 1.0}


def numerical_rows(problem, oracle, eps=1e-6):
    """Central differences of the losses the oracle reports."""
    parameters = list(problem.upper_parameters().values())
    columns = []
    for parameter in parameters:
        flat = parameter.data.view(-1)
        for i in range(flat.numel()):
            value = float(flat[i])
            flat[i] = value + eps
            ahead = oracle(problem, None).losses
            flat[i] = value - eps
            behind = oracle(problem, None).losses
            flat[i] = value
            columns.append((ahead - behind) / (2 * eps))
    return torch.stack(columns, 1)


@pytest.mark.parametrize("rule", RULES)
def test_every_rule_is_differentiated_exactly_by_every_stepwise_method(rule):
    problem = Tanh()
    expected = numerical_rows(problem, Bilevel(RULES[rule](steps=4), Unrolled()))
    rows = Bilevel(RULES[rule](steps=4), Unrolled())(problem, None).jacobian
    assert error(rows, expected) <= 1e-7
    for method in (Checkpointed(), Checkpointed(1), Checkpointed(9), ForwardMode(), Truncated(9)):
        again = Bilevel(RULES[rule](steps=4), method)(problem, None).jacobian
        assert error(again, rows) <= 1e-12


@pytest.mark.parametrize("looks", [{1: 0.2, 3: 0.3, 4: 0.5}, {0: 0.5, 2: 1.0}, {0: 1.0}])
def test_objectives_of_several_lower_steps(looks):
    problem = Tanh(looks)
    expected = numerical_rows(problem, Bilevel(InnerAdam(0.1, steps=4), Unrolled()))
    for method in (Unrolled(), Checkpointed(), Checkpointed(1), Checkpointed(3)):
        rows = Bilevel(InnerAdam(0.1, steps=4), method)(problem, None).jacobian
        assert error(rows, expected) <= 1e-7


@pytest.mark.parametrize("method", [Truncated(1), ForwardMode(), Cholesky(), FiniteDifference()])
def test_methods_of_the_last_step_refuse_objectives_of_others(method):
    with pytest.raises(ValueError, match="`step_weights` should look after the last step only"):
        Bilevel(InnerSGD(0.1, steps=4), method)(Tanh({1: 0.5, 4: 0.5}), None)


@pytest.mark.parametrize("rule", ["adam", "adamw", "rmsprop", "adagrad"])
def test_hypergradients_stay_finite_where_a_gradient_is_zero(rule):
    problem = QuadraticBilevel(objectives=2)
    problem.A[0], problem.A[:, 0], problem.B[0], problem.c[0] = 0.0, 0.0, 0.0, 0.0
    rows = Bilevel(RULES[rule](steps=3), Unrolled())(problem, None).jacobian
    assert torch.isfinite(rows).all()
    expected = numerical_rows(problem, Bilevel(RULES[rule](steps=3), Unrolled()))
    assert error(rows, expected) <= 1e-6


def test_soba_tracks_the_adjoints():
    problem, oracle = (
        QuadraticBilevel(),
        Bilevel(InnerSGD(1.0, steps=1), SOBA(0.9), warm_start=True),
    )
    errors = []
    for _ in range(150):
        errors.append(error(oracle(problem, None).jacobian, problem.hypergradients()))
        oracle.advance(problem)
    assert errors[0] > 0.1
    assert errors[-1] <= 1e-10


def test_a_projection_holds_after_every_step():
    problem = QuadraticBilevel()

    def project(theta):
        return {"w": theta["w"].clamp(-0.3, 0.3)}

    oracle = Bilevel(InnerSGD(0.5, steps=6, project=project), Unrolled())
    rows = oracle(problem, None).jacobian
    assert oracle._solutions[0].theta[0].abs().max() <= 0.3
    assert error(rows, numerical_rows(problem, oracle)) <= 1e-7
