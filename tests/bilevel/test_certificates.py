"""Certificates certify, missing paths are said, recomputed passes draw the same numbers."""

import pytest
import torch
from torch import nn

from moml.bilevel import (
    Bilevel,
    BilevelProblem,
    BlockConjugateGradient,
    Checkpointed,
    Cholesky,
    ConjugateGradient,
    FiniteDifference,
    FirstOrder,
    ForwardMode,
    InnerSGD,
    Neumann,
    Nystrom,
    Unrolled,
    ValueFunction,
)
from tasks import QuadraticBilevel

D = torch.float64


class Diagonal(BilevelProblem):
    """A quadratic lower loss whose solution is a multiple of the upper variable."""

    tasks, module = ("F",), None

    def __init__(self, curvatures, start=0.0, sees=True):
        self.curvatures = torch.tensor(curvatures, dtype=D)
        self.start = 1 / self.curvatures if start == "optimum" else start
        self.sees = sees
        self.module = nn.ParameterList([torch.ones(len(curvatures), dtype=D)])

    def upper_parameters(self):
        return {"omega": self.module[0]}

    def lower_init(self, omega, batch, previous):
        return previous or {"t": torch.zeros_like(self.curvatures) + self.start}

    def lower_loss(self, theta, omega, batch):
        pull = omega["omega"] if self.sees else torch.ones_like(self.curvatures)
        return (self.curvatures * theta["t"] ** 2 / 2 - pull * theta["t"]).sum()

    def upper_losses(self, theta, omega, batch):
        return {"F": theta["t"].sum()}


def error(problem, oracle):
    exact = 1 / problem.curvatures
    return float((oracle(problem, None).jacobian[0] - exact).norm() / exact.norm())


STIFF = [1.0, 0.3, 0.1, 0.03, 0.01]
WRONG = {
    "few rounds": lambda **k: ConjugateGradient(1, **k),
    "few rounds, block": lambda **k: BlockConjugateGradient(1, **k),
    "damped": lambda **k: ConjugateGradient(20, damping=1.0, **k),
    "damped, block": lambda **k: BlockConjugateGradient(20, damping=1.0, **k),
    "damped, whole": lambda **k: Cholesky(damping=1.0, **k),
    "few terms": lambda **k: Neumann(2, rate=0.5, **k),
    "small rank": lambda **k: Nystrom(1, damping=1.0, **k),
}


@pytest.mark.parametrize("method", WRONG)
def test_unsolved_linear_systems_are_not_certified(method):
    problem, make = Diagonal(STIFF, start="optimum"), WRONG[method]
    inner = InnerSGD(1.0)
    assert error(problem, Bilevel(inner, make(on_invalid="ignore"))) > 0.5
    with pytest.raises(ValueError, match="linear systems should be solved"):
        Bilevel(inner, make(on_invalid="raise"))(problem, None).pullback(torch.ones(1))
    right = Bilevel(inner, Cholesky(on_invalid="raise"))
    assert error(problem, right) <= 1e-6


@pytest.mark.parametrize("method", [lambda **k: Neumann(30, rate=0.5, **k), Cholesky])
def test_negative_curvature_is_met_by_every_solver(method):
    problem = Diagonal([1.0, -0.5])
    oracle = Bilevel(InnerSGD(1e-3), method(tolerance=9.0, on_invalid="raise"))
    with pytest.raises(ValueError, match="non-positive curvature"):
        oracle(problem, None).pullback(torch.ones(1))
    assert oracle.certificates[0].negative_curvature


def test_a_singular_hessian_is_not_certified():
    oracle = Bilevel(InnerSGD(0.1, steps=400), Cholesky(on_invalid="raise"))
    with pytest.raises(ValueError, match="non-positive curvature"):
        oracle(Diagonal([1.0, 0.0]), None).pullback(torch.ones(1))


@pytest.mark.supported
def test_lower_level_that_starts_at_its_optimum_is_accepted():
    problem = Diagonal([1.0, 1.0], start=1.0)
    oracle = Bilevel(InnerSGD(0.1), Cholesky(on_invalid="raise"))
    assert error(problem, oracle) <= 1e-12
    nearly = Diagonal([1.0, 1.0], start=1.0 + 1e-9)
    assert error(nearly, Bilevel(InnerSGD(0.0), Cholesky(on_invalid="raise"))) <= 1e-12


@pytest.mark.refused("nothing that is learnt would move")
@pytest.mark.parametrize(
    "method",
    [FirstOrder, ForwardMode, Unrolled, Checkpointed, lambda: Cholesky(on_invalid="ignore")],
)
def test_upper_parameters_that_no_objective_sees(method):
    with pytest.raises(ValueError, match="should depend on the upper parameters, found no path"):
        Bilevel(InnerSGD(0.1, steps=2), method())(Diagonal([1.0], sees=False), None).apply(
            torch.ones(1)
        )


@pytest.mark.refused("a first-order method sees the start and the objectives alone")
def test_first_order_where_only_the_lower_loss_sees_the_upper_parameters():
    with pytest.raises(ValueError, match="FirstOrder sees the start only"):
        Bilevel(InnerSGD(0.1), FirstOrder())(Diagonal([1.0]), None).apply(torch.ones(1))


@pytest.mark.refused("nothing that is learnt would move")
def test_value_function_whose_lower_loss_does_not_see_the_upper_parameters():
    oracle = Bilevel(InnerSGD(0.1), ValueFunction())
    with pytest.raises(ValueError, match="found no path to any of them"):
        oracle(Diagonal([1.0], sees=False), None).apply(torch.ones(1))


class Dropped(QuadraticBilevel):
    """Random masks in the lower loss."""

    def lower_loss(self, theta, omega, batch):
        masked = {n: nn.functional.dropout(t, 0.5) for n, t in theta.items()}
        return super().lower_loss(masked, omega, batch)


@pytest.mark.supported
def test_dropout_in_the_lower_level_of_a_checkpointed_hypergradient():
    rows = []
    for method in (Unrolled(), Checkpointed(2)):
        torch.manual_seed(3)
        rows.append(Bilevel(InnerSGD(0.3, steps=7), method)(Dropped(), None).jacobian)
        after = torch.rand(1)
    assert float((rows[0] - rows[1]).norm() / rows[0].norm()) <= 1e-12
    torch.manual_seed(3)  # what is drawn again does not move the generator
    Bilevel(InnerSGD(0.3, steps=7), Unrolled())(Dropped(), None)
    assert torch.equal(after, torch.rand(1))


@pytest.mark.supported
def test_dropout_in_the_lower_level_of_a_finite_difference():
    rows = []
    for method in (Unrolled(), FiniteDifference(1e-3)):
        torch.manual_seed(3)
        rows.append(Bilevel(InnerSGD(0.3), method)(Dropped(), None).jacobian)
    assert float((rows[0] - rows[1]).norm() / rows[0].norm()) <= 1e-8
