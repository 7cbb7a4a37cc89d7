"""The oracle: weightings on top, what is kept between steps, certificates, complaints."""

import copy

import pytest
import torch
from torch import nn

import moml
from moml.bilevel import (
    SOBA,
    Alternate,
    Bilevel,
    BlockConjugateGradient,
    Cholesky,
    ConjugateGradient,
    FiniteDifference,
    FirstOrder,
    ForwardMode,
    InnerAdam,
    InnerSGD,
    Neumann,
    Nystrom,
    Truncated,
    Unrolled,
)
from moml.data import BilevelBatch
from moml.errors import NonFiniteError
from moml.training.checkpoint import Checkpoint
from moml.weighting import EW, MGDA, CAGrad, UPGrad
from tasks import DebSinha, LinearMAML, QuadraticBilevel


def test_one_lower_solve_serves_all_objectives():
    problem, calls = QuadraticBilevel(), []
    original = problem.lower_loss
    problem.lower_loss = lambda *a: calls.append(1) or original(*a)
    for weighting in (EW(), MGDA()):
        calls.clear()
        weighting.setup(problem.tasks)
        evaluation = Bilevel(InnerSGD(0.5, steps=7), Unrolled())(problem, None)
        weighting.update(evaluation)
        assert len(calls) == 7


@pytest.mark.parametrize("weighting", [EW, MGDA, CAGrad, UPGrad])
def test_the_applied_gradient_is_the_weighted_hypergradient(weighting):
    problem, method = QuadraticBilevel(), weighting()
    method.setup(problem.tasks)
    weights = method.update(Bilevel(InnerSGD(1.0, steps=90), Unrolled())(problem, None))
    expected = weights @ problem.hypergradients()
    torch.testing.assert_close(problem.upper.values["x"].grad, expected, rtol=1e-10, atol=1e-12)


def test_the_upper_bound_weighs_gradients_of_the_lower_solution():
    problem = QuadraticBilevel()
    problem.mu = 0.0  # no direct dependence: the condition under which the bound is tight
    oracle = Bilevel(InnerSGD(1.0, steps=90), Cholesky(), upper_bound=True)
    evaluation = oracle(problem, None)
    w = torch.linalg.solve(problem.A, problem.B @ problem.x + problem.c)
    torch.testing.assert_close(evaluation.jacobian, w - problem.a)
    weights = MGDA().weights(evaluation.gramian)
    evaluation.apply(weights)
    torch.testing.assert_close(problem.upper.values["x"].grad, weights @ problem.hypergradients())


def test_warm_start_goes_on_where_the_last_step_ended():
    problem = QuadraticBilevel()
    oracle = Bilevel(InnerSGD(1.0, steps=1), Cholesky(on_invalid="ignore"), warm_start=True)
    residuals = []
    for _ in range(90):
        oracle(problem, None).pullback(torch.ones(3))
        residuals.append(oracle.certificates[0].lower_residual)
        oracle.advance(problem)
    assert residuals[-1] < 1e-10 * residuals[0]


def test_alternate_moves_the_lower_variables_by_their_own_optimizer():
    problem = QuadraticBilevel()
    carry = Alternate(lambda params: torch.optim.SGD(params, lr=0.5, momentum=0.5), steps=2)
    oracle = Bilevel(InnerSGD(0.1, steps=1), Unrolled(), alternate=carry)
    w, velocity = torch.zeros(10, dtype=torch.float64), 0.0
    for _ in range(3):
        oracle(problem, None)
        oracle.advance(problem)
        for _ in range(2):
            velocity = 0.5 * velocity + problem.A @ w - problem.B @ problem.x - problem.c
            w = w - 0.5 * velocity
    torch.testing.assert_close(carry.previous()["w"], w)


METHODS = {
    "unrolled": lambda: Unrolled(),
    "truncated": lambda: Truncated(1),
    "block cg": lambda: BlockConjugateGradient(on_invalid="ignore"),
    "nystrom": lambda: Nystrom(4, on_invalid="ignore"),
    "soba": lambda: SOBA(0.5),
}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("carried", ["warm", "alternate"])
def test_a_run_cut_in_two_ends_with_the_same_bits(method, carried, tmp_path):
    def train(folder, steps, resume):
        problem = QuadraticBilevel(seed=3)
        alternate = Alternate(lambda p: torch.optim.Adam(p, lr=0.1)) if carried != "warm" else None
        oracle = Bilevel(
            InnerSGD(0.5, steps=2), METHODS[method](), warm_start=carried == "warm",
            alternate=alternate,
        )  # fmt: skip
        optimizer = torch.optim.Adam([problem.upper.values["x"]], lr=0.1)
        checkpoint = Checkpoint(folder, every=3, resume=resume)
        moml.fit(problem, oracle, MGDA(), optimizer, [None], steps=steps, checkpoint=checkpoint)
        return problem.x

    whole = train(tmp_path / "whole", 10, False)
    train(tmp_path / "cut", 5, False)
    assert torch.equal(train(tmp_path / "cut", 10, True), whole)


def test_lower_batches_are_taken_in_turn_and_the_upper_one_apart():
    problem, seen = QuadraticBilevel(), []
    lower, upper = problem.lower_loss, problem.upper_losses
    problem.lower_loss = lambda t, o, b: seen.append(b) or lower(t, o, b)
    problem.upper_losses = lambda t, o, b: seen.append(b) or upper(t, o, b)
    Bilevel(InnerSGD(0.1, steps=5), Unrolled())(problem, BilevelBatch((1, 2), "upper"))
    assert seen == [1, 2, 1, 2, 1, "upper"]


def test_objectives_and_rows_are_averaged_over_episodes():
    problem = LinearMAML()
    single = Bilevel(InnerSGD(0.3, steps=2), Unrolled())(problem, None)
    problem.episodes = lambda batch: [batch] * 3
    several = Bilevel(InnerSGD(0.3, steps=2), Unrolled())(problem, None)
    torch.testing.assert_close(several.losses, single.losses)
    torch.testing.assert_close(several.jacobian, single.jacobian)


def test_an_inactive_objective_has_no_row():
    problem = QuadraticBilevel()
    losses = problem.upper_losses
    problem.upper_losses = lambda *a: {k: v for k, v in losses(*a).items() if k != "F1"}
    evaluation = Bilevel(InnerSGD(1.0, steps=60), Unrolled())(problem, None)
    assert evaluation.names == ("F0", "F2")
    assert evaluation.tasks.tolist() == [0, 2]
    torch.testing.assert_close(evaluation.jacobian, problem.hypergradients()[[0, 2]])


# What can go wrong -----------------------------------------------------------------------------


def test_implicit_differentiation_without_a_path_explains_itself():
    oracle = Bilevel(InnerSGD(0.3, steps=200), Cholesky(on_invalid="ignore"))
    with pytest.raises(ValueError, match="needs a proximal term"):
        oracle(LinearMAML(), None).pullback(torch.ones(2))


@pytest.mark.parametrize("formed", [False, True])
def test_no_path_at_all_explains_itself(formed):
    problem = QuadraticBilevel()
    problem.mu = 0.0
    problem.lower_loss = lambda t, o, b: 0.5 * (t["w"] @ problem.A @ t["w"])
    problem.upper_losses = lambda t, o, b: {"F0": t["w"].sum(), "F1": t["w"][0] * 2}
    evaluation = Bilevel(InnerSGD(0.3, steps=2), Unrolled())(problem, None)
    with pytest.raises(ValueError, match="found no path to any of them"):
        _ = evaluation.gramian if formed else evaluation.apply(torch.ones(2))


@pytest.mark.parametrize("method", [Cholesky, ConjugateGradient, BlockConjugateGradient, Neumann])
def test_a_lower_level_far_from_its_optimum_is_reported(method):
    oracle = Bilevel(InnerSGD(0.01, steps=1), method())
    with pytest.warns(UserWarning, match="near a stationary point"):
        oracle(QuadraticBilevel(), None).pullback(torch.ones(3))
    assert oracle.certificates[0].lower_residual > 0.1
    with pytest.raises(ValueError, match="near a stationary point"):
        Bilevel(InnerSGD(0.01, steps=1), method(on_invalid="raise"))(
            QuadraticBilevel(), None
        ).pullback(torch.ones(3))


@pytest.mark.parametrize("method", [Cholesky, ConjugateGradient, BlockConjugateGradient])
def test_negative_curvature_is_reported(method):
    problem = QuadraticBilevel()
    problem.A -= 0.8 * torch.eye(10, dtype=torch.float64)
    oracle = Bilevel(InnerSGD(1e-3, steps=1), method(tolerance=1e9))
    with pytest.warns(UserWarning, match="non-positive curvature"):
        _ = oracle(problem, None).jacobian
    assert oracle.certificates[0].negative_curvature


def test_a_lower_level_that_explodes_is_named_with_the_step():
    problem = QuadraticBilevel()
    optimizer = torch.optim.SGD([problem.upper.values["x"]], lr=0.1)
    with pytest.raises(NonFiniteError, match="Step 1: The lower level's solution"):
        moml.fit(
            problem, Bilevel(InnerSGD(1e200, steps=9), Unrolled()), EW(), optimizer, [None], steps=3
        )


def test_a_loss_that_is_not_a_number_names_objective_and_step():
    problem = QuadraticBilevel()
    losses = problem.upper_losses
    problem.upper_losses = lambda *a: {**losses(*a), "F1": losses(*a)["F1"] * float("nan")}
    optimizer = torch.optim.SGD([problem.upper.values["x"]], lr=0.1)
    with pytest.raises(NonFiniteError, match=r"Step 1: The loss of task 'F1'"):
        moml.fit(problem, Bilevel(InnerSGD(0.1), Unrolled()), EW(), optimizer, [None], steps=3)


def test_lower_variables_need_not_be_in_the_updater():
    problem = QuadraticBilevel()
    problem.upper.network = nn.Linear(2, 2)
    optimizer = torch.optim.SGD([problem.upper.values["x"]], lr=0.1)
    moml.fit(problem, Bilevel(InnerSGD(0.1), Unrolled()), EW(), optimizer, [None], steps=1)
    with pytest.raises(ValueError, match="missing: x"):
        other = torch.optim.SGD(problem.upper.network.parameters(), lr=0.1)
        moml.fit(problem, Bilevel(InnerSGD(0.1), Unrolled()), EW(), other, [None], steps=1)


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: InnerSGD(-1.0), "`lr` should not be negative"),
        (lambda: InnerSGD(0.1, steps=-1), "`steps` should be at least 0"),
        (lambda: InnerSGD(0.1, momentum=1.0), "`momentum` should be at least 0 and below 1"),
        (lambda: InnerSGD(0.1, nesterov=True), "`nesterov` should go with"),
        (lambda: InnerAdam(betas=(0.9, 1.0)), "`betas` should lie in"),
        (lambda: Truncated(0), "`k` should be at least 1"),
        (lambda: Neumann(0), "`terms` should be at least 1"),
        (lambda: Nystrom(0), "`rank` should be at least 1"),
        (lambda: Nystrom(damping=0.0), "`damping` should be positive"),
        (lambda: ConjugateGradient(0), "`rounds` should be at least 1"),
        (lambda: Cholesky(on_invalid="no"), "`on_invalid` should be"),
        (lambda: FiniteDifference(0.0), "`radius` should be positive"),
        (lambda: SOBA(0.0), "`rate` should be positive"),
        (
            lambda: Bilevel(InnerAdam(), FiniteDifference())(QuadraticBilevel(), None),
            "`inner` should be an InnerSGD without momentum",
        ),
        (
            lambda: Bilevel(InnerAdam(), Neumann())(QuadraticBilevel(5000, 2), None).jacobian
            if False else Bilevel(InnerSGD(0.1), ForwardMode())(QuadraticBilevel(5000, 3), None),
            "at most 4096 numbers",
        ),
        (
            lambda: Bilevel(
                InnerSGD(0.1), Unrolled(), warm_start=True, alternate=Alternate(torch.optim.SGD)
            ),
            "`warm_start` should be off",
        ),
    ],
)  # fmt: skip
def test_bad_settings_get_one_sentence(make, sentence):
    with pytest.raises(ValueError, match=sentence):
        make()


def test_a_lower_loss_that_ignores_its_variables_is_refused():
    problem = QuadraticBilevel()
    problem.lower_loss = lambda t, o, b: torch.zeros(())
    with pytest.raises(ValueError, match="`lower_loss` should depend on the lower variables"):
        Bilevel(InnerSGD(0.1), Unrolled())(problem, None)


def test_kept_lower_levels_come_one_at_a_time():
    problem = QuadraticBilevel()
    problem.episodes = lambda batch: [batch, batch]
    oracle = Bilevel(InnerSGD(0.1), Unrolled(), warm_start=True)
    oracle(problem, None)
    with pytest.raises(ValueError, match="`episodes` should give one lower level"):
        oracle.advance(problem)


def test_nothing_but_upper_gradients_is_written():
    problem = DebSinha(0.3)
    before = copy.deepcopy(problem.upper.state_dict())
    Bilevel(InnerSGD(0.5, steps=3), FirstOrder())(problem, None).apply(torch.ones(2))
    assert all(torch.equal(v, before[k]) for k, v in problem.upper.state_dict().items())
    assert problem.upper.values["x"].grad is not None


class _Squared(torch.autograd.Function):
    """A function of one's own that looks at values on the way back."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x * x

    @staticmethod
    def backward(ctx, gradient):
        (x,) = ctx.saved_tensors
        assert float(gradient.sum()) < 1e9
        return 2 * x * gradient


class _Switched(QuadraticBilevel):
    """The lower loss goes through a function of one's own; an objective changes between steps."""

    direct = False

    def lower_loss(self, theta, omega, batch):
        return super().lower_loss(theta, omega, batch) + 0.01 * _Squared.apply(theta["w"]).sum()

    def upper_losses(self, theta, omega, batch):
        losses = dict(super().upper_losses(theta, omega, batch))
        if self.direct:
            name = next(iter(losses))
            losses[name] = losses[name] + omega["x"].square().sum()
        return losses


@pytest.mark.supported
def test_a_lower_loss_with_an_autograd_function_of_ones_own():
    problem = _Switched()
    oracle = Bilevel(InnerSGD(0.5, steps=5), Unrolled())
    rows = oracle(problem, None).jacobian
    one_by_one = Unrolled()
    one_by_one._batched = False
    torch.testing.assert_close(
        rows, Bilevel(InnerSGD(0.5, steps=5), one_by_one)(problem, None).jacobian
    )


@pytest.mark.supported
def test_an_objective_that_sees_the_upper_parameters_directly_in_some_steps_only():
    problem, oracle = _Switched(), Bilevel(InnerSGD(0.5, steps=5), Unrolled())
    for direct in (False, True, False):
        problem.direct = direct
        fresh = Bilevel(InnerSGD(0.5, steps=5), Unrolled())(problem, None).jacobian
        torch.testing.assert_close(oracle(problem, None).jacobian, fresh)
