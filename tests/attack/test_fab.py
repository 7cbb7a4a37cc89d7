import pytest
import torch
from scipy.optimize import linprog, minimize

from moml.attack import (
    APGD,
    FAB,
    L1,
    L2,
    Linf,
    Victim,
    each_target,
    margin,
    misclassified,
    targeted_margin,
    worst_case,
)

BALLS = [Linf(0.1), L2(0.6), L1(3.0)]
each_ball = pytest.mark.parametrize("ball", BALLS, ids=str)


def smallest(ball, gradient, amount, low, high):
    """The least norm that changes a linear function by an amount, by general solvers."""
    n = len(gradient)
    if isinstance(ball, L2):
        found = minimize(
            lambda d: d @ d, (low + high) / 2, bounds=list(zip(low, high, strict=True)),
            constraints={"type": "eq", "fun": lambda d: gradient @ d - amount},
            options={"maxiter": 500, "ftol": 1e-15},
        )  # fmt: skip
        return float(found.fun**0.5)
    if isinstance(ball, Linf):  # the last variable is the norm
        cost = [0.0] * n + [1.0]
        eye = torch.eye(n).tolist()
        rows = [[*r, -1.0] for r in eye] + [[*(-v for v in r), -1.0] for r in eye]
        return float(
            linprog(cost, rows, [0.0] * (2 * n), [[*gradient, 0.0]], [amount],
                    [*zip(low, high, strict=True), (0, None)]).fun
        )  # fmt: skip
    parts = [(0, v) for v in high] + [(0, -v) for v in low]
    both = [[*gradient, *(-gradient)]]
    return float(linprog([1.0] * (2 * n), A_eq=both, b_eq=[amount], bounds=parts).fun)


@each_ball
def test_steps_onto_a_plane_within_a_box_are_the_smallest(ball):
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(20, 6, generator=generator, dtype=torch.float64)
    gradient = torch.randn(20, 6, generator=generator, dtype=torch.float64)
    reach = (gradient.clamp(min=0) * (1 - x) - gradient.clamp(max=0) * x).sum(1)
    down = (gradient.clamp(min=0) * -x + gradient.clamp(max=0) * (1 - x)).sum(1)
    share = torch.rand(20, generator=generator, dtype=torch.float64)
    amount = torch.where(torch.arange(20) % 2 == 0, share * reach, share * down)
    found = ball.to_plane(gradient, amount, (-x, 1 - x))
    assert torch.allclose((gradient * found).sum(1), amount, atol=1e-9)
    assert (found >= -x - 1e-12).all() and (found <= 1 - x + 1e-12).all()
    for row in range(20):
        expected = smallest(
            ball, gradient[row].numpy(), float(amount[row]), -x[row].numpy(), (1 - x)[row].numpy()
        )
        assert float(ball.norm(found)[row]) == pytest.approx(expected, rel=2e-4, abs=1e-6)
    far = ball.to_plane(gradient, reach + 1, (-x, 1 - x))  # out of reach: as far as it goes
    assert torch.allclose((gradient * far).sum(1), reach)
    free = ball.to_plane(gradient, amount)
    dual = (gradient * ball.steepest(gradient)).sum(1)
    if not isinstance(ball, L1):  # whose steepest step is spread out
        assert torch.allclose(ball.norm(free), amount.abs() / dual)
    assert torch.allclose((gradient * free).sum(1), amount)


@pytest.mark.supported
@each_ball
def test_the_nearest_wrong_input_of_a_linear_model(ball):
    """One step is exact there: the distance is the margin over the gradient's dual norm."""
    torch.manual_seed(0)
    x, weight = torch.randn(10, 12), torch.randn(12)

    def loss(x):
        return x @ weight - 3

    nearest = FAB(ball, steps=30, bounds=None).nearest(loss, x)
    dual = {Linf: weight.abs().sum(), L2: weight.norm(), L1: weight.abs().max()}[type(ball)]
    away = loss(x) <= 0
    expected = torch.where(away, -loss(x) / dual, 0)
    assert torch.allclose(ball.norm(nearest - x), expected, rtol=0.06)
    assert (loss(nearest)[away] > 0).all() and torch.equal(nearest[~away], x[~away])
    inside = FAB(ball, steps=30, bounds=None).perturb(loss, x)
    near = ball.norm(nearest - x) <= ball.eps
    assert torch.equal(inside[near], nearest[near]) and torch.equal(inside[~near], x[~near])


@each_ball
def test_as_strong_as_apgd_and_nearer(ball, robust, samples):
    x, labels = (part[:50] for part in samples)
    victim = Victim(robust)
    targets = each_target(victim, labels, x, num_targets=3, loss=targeted_margin)
    x_adv = worst_case([(FAB(ball, steps=25), target) for target in targets], x)
    goal = victim.objective(labels, loss=margin, success=misclassified)
    other = APGD(ball, steps=50).perturb(goal, x)
    by_fab, by_apgd = goal.reached(x_adv), goal.reached(other)
    assert int(by_fab.sum()) >= int(by_apgd.sum()) - 2
    both = by_fab & by_apgd & (ball.norm(other - x) > 0)
    assert (ball.norm(x_adv - x) <= ball.eps * (1 + 1e-5)).all()
    assert ball.norm(x_adv - x)[both].mean() <= ball.norm(other - x)[both].mean()


def test_restarts_never_lead_further_away(robust, samples):
    x, labels = (part[:30] for part in samples)
    goal = Victim(robust).objective(labels, loss=margin, success=misclassified)
    one = FAB(L2(0.6), steps=8).nearest(goal, x)
    two = FAB(L2(0.6), steps=8, restarts=2).nearest(goal, x)
    assert (L2(1.0).norm(two - x) <= L2(1.0).norm(one - x) + 1e-6).all()
    with pytest.raises(ValueError, match=r"`(steps|restarts)` should be at least 1"):
        FAB(L2(0.6), steps=0)


@pytest.mark.supported
def test_the_smallest_change_that_breaks_a_tolerance_of_regression():
    torch.manual_seed(0)
    x, weight = torch.rand(8, 5), torch.randn(5)
    y = x @ weight
    nearest = FAB(Linf(1.0), steps=20, bounds=None).nearest(
        lambda x: (x @ weight - y).abs() - 0.2, x
    )
    # the gradient of |0| is zero: from the clean input only what is off already moves
    assert torch.equal(nearest, x)
    nearest = FAB(Linf(1.0), steps=20, bounds=None).nearest(lambda x: x @ weight - y - 0.2, x)
    assert torch.allclose(Linf(1.0).norm(nearest - x), 0.2 / weight.abs().sum(), rtol=0.06)
