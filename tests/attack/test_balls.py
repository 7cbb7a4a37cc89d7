import pytest
import torch
from scipy.optimize import minimize

from moml.attack import L1, L2, Linf
from moml.attack.ball.l1 import sparse_step

BALLS = [Linf(0.3), L2(0.7), L1(1.2)]
each_ball = pytest.mark.parametrize("ball", BALLS, ids=str)


def points(count=20, size=6, seed=0):
    generator = torch.Generator().manual_seed(seed)
    scale = torch.logspace(-2, 1, count, dtype=torch.float64)[:, None]
    return torch.randn(count, size, dtype=torch.float64, generator=generator) * scale


def nearest(ball, point, limits=None):
    """The projection by a general solver, on positive and negative parts where L1 has corners."""
    n = len(point)
    if isinstance(ball, Linf):
        bounds, constraint = [(-ball.eps, ball.eps)] * n, ()
    elif isinstance(ball, L2):
        bounds, constraint = None, {"type": "ineq", "fun": lambda d: ball.eps**2 - d @ d}
    else:
        result = minimize(
            lambda d: ((d[:n] - d[n:] - point) ** 2).sum(),
            [0.0] * (2 * n),
            bounds=[(0, limit) for limit in limits or [None] * (2 * n)],
            constraints={"type": "ineq", "fun": lambda d: ball.eps - d.sum()},
            options={"maxiter": 500, "ftol": 1e-14},
        ).x
        return result[:n] - result[n:]
    return minimize(
        lambda d: ((d - point) ** 2).sum(),
        [0.0] * n,
        bounds=bounds,
        constraints=constraint,
        options={"maxiter": 500, "ftol": 1e-14},
    ).x


@each_ball
def test_projection_is_the_nearest_point(ball):
    found = ball.project(points())
    for point, projected in zip(points(), found, strict=True):
        expected = torch.tensor(nearest(ball, point.numpy()))
        assert torch.allclose(projected, expected, atol=2e-5)


@each_ball
def test_projection_stays_inside_and_leaves_the_inside_alone(ball):
    x = points(200, 30)
    assert (ball.norm(ball.project(x)) <= ball.eps + 1e-12).all()
    inside = ball.project(x) * 0.999
    assert torch.allclose(ball.project(inside), inside, atol=1e-15)
    assert torch.equal(ball.project(torch.zeros(2, 3)), torch.zeros(2, 3))


def test_projection_onto_l1_with_ties_and_in_single_precision():
    x = torch.ones(1, 4)
    assert torch.allclose(L1(1.0).project(x), torch.full((1, 4), 0.25))
    wide = torch.randn(3, 5000)
    assert (L1(1.0).norm(L1(1.0).project(wide)) <= 1 + 1e-5).all()


def test_projection_onto_l1_and_a_box_is_the_nearest_point_of_both():
    generator = torch.Generator().manual_seed(1)
    x = torch.rand(30, 6, dtype=torch.float64, generator=generator)
    x[:, 0], x[:, 1] = 0, 1  # no room on one side
    delta = points(30, 6, seed=2)
    ball = L1(1.2)
    found = ball.project(delta, box=(-x, 1 - x))
    for clean, point, projected in zip(x, delta, found, strict=True):
        limits = torch.cat([1 - clean, clean]).tolist()
        nearest_point = nearest(ball, point.numpy(), limits)
        assert torch.allclose(projected, torch.tensor(nearest_point), atol=2e-5)
    assert (ball.norm(found) <= ball.eps + 1e-12).all()
    full = ball.norm(delta.clamp(-x, 1 - x)) > ball.eps
    assert full.any() and not full.all()
    assert torch.allclose(ball.norm(found)[full], torch.full((int(full.sum()),), 1.2).double())
    assert torch.allclose(found[~full], delta.clamp(-x, 1 - x)[~full])  # clamping is enough


def test_a_sparse_step_moves_as_many_entries_as_each_sample_is_told():
    gradient = torch.tensor([[3.0, -2.0, 1.0, 0.5], [0.1, 0.2, -0.4, 0.0]])
    step = sparse_step(gradient, torch.tensor([2.6, 0.0]))
    assert torch.equal(step, torch.tensor([[0.5, -0.5, 0.0, 0.0], [0.0, 0.0, -1.0, 0.0]]))


@each_ball
def test_samples_fill_the_ball(ball):
    x = torch.zeros(4000, 1, 2, 2)
    delta = ball.sample(x, torch.Generator().manual_seed(0))
    assert delta.shape == x.shape
    assert (ball.norm(delta) <= ball.eps * (1 + 1e-6)).all()
    # uniform: the share within half the radius is one half to the power of the dimension
    half = (ball.norm(delta) < ball.eps / 2).double().mean()
    assert float(half) == pytest.approx(0.5**4, abs=0.015)
    assert torch.allclose(delta.mean(0), torch.zeros(1, 2, 2), atol=0.03)
    again = ball.sample(x, torch.Generator().manual_seed(0))
    assert torch.equal(delta, again)


@pytest.mark.parametrize("ball", [Linf(0.3), L2(0.7), L1(1.2, share=0.01)], ids=str)
@pytest.mark.parametrize("scale", [1e-30, 1.0, 1e30])
def test_no_unit_step_rises_more_than_the_steepest(ball, scale):
    gradient = points(20, 6).float() * scale
    step = ball.steepest(gradient)
    assert torch.allclose(ball.norm(step), torch.ones(20))
    unit = type(ball)(1.0)
    for seed in range(20):
        other = unit.sample(gradient, torch.Generator().manual_seed(seed))
        other = other / ball.norm(other)[:, None]
        normal = gradient / scale
        assert ((other * normal).sum(1) <= (step * normal).sum(1) * (1 + 1e-5)).all()


@each_ball
def test_a_zero_gradient_gives_no_step(ball):
    gradient = torch.zeros(3, 2, 4)
    gradient[1, 0, 0] = 2.0
    step = ball.steepest(gradient)
    assert torch.equal(step[0], torch.zeros(2, 4))
    assert float(step[1, 0, 0]) == 1 and float(step.abs().sum()) == 1


def test_l1_steps_only_where_it_can_still_move():
    gradient = torch.tensor([[3.0, -2.0, 1.0]])
    movable = torch.tensor([[False, True, True]])
    assert torch.equal(
        L1(1.0).steepest(gradient, movable=movable), torch.tensor([[0.0, -1.0, 0.0]])
    )


@pytest.mark.parametrize("eps", [-1.0, float("nan"), float("inf")])
def test_a_radius_that_is_none_raises(eps):
    with pytest.raises(ValueError, match="`eps` should be a finite number"):
        Linf(eps)
    with pytest.raises(ValueError, match="`share` should be above 0"):
        L1(1.0, share=0.0)
