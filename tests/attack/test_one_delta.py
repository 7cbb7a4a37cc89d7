import pytest
import torch
from torch import nn

from moml.attack import L1, L2, PGD, Linf, Victim, cross_entropy, misclassified
from moml.attack.generator import SideBySide
from moml.attack.one_delta import OneDelta, max_min_weights
from moml.gradients.task_gradients import Evaluation
from moml.weighting import (
    EW,
    MGDA,
    RLW,
    CAGrad,
    GoalMask,
    GradientNormalization,
    PCGrad,
    Weighting,
)
from moml.weighting._batched import batched_min_norm


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def jacobians(kind, m):
    rows = draw(64, m, m + 6, seed=m)
    if kind == "scales":
        rows *= torch.exp(4 * draw(64, m, 1, seed=1))
    elif kind == "duplicates":
        rows[:, m // 2 :] = rows[:, : m - m // 2]
    elif kind == "zeros":
        rows[::2, 0] = 0
    elif kind == "stationary":
        rows -= rows.mean(1, keepdim=True)
    elif kind == "narrow":
        rows += 30 * draw(64, 1, m + 6, seed=2)
    return rows


@pytest.mark.parametrize("m", [1, 2, 3, 4, 8])
@pytest.mark.parametrize(
    "kind", ["random", "scales", "duplicates", "zeros", "stationary", "narrow"]
)
def test_batched_min_norm_is_mgda_sample_by_sample(kind, m):
    rows = jacobians(kind, m)
    gramian = rows @ rows.mT
    weights = batched_min_norm(gramian)
    torch.testing.assert_close(weights, MGDA().weights(gramian), rtol=0, atol=1e-9)
    products = (gramian @ weights[..., None])[..., 0]  # (B, m)
    gap = 2 * ((products * weights).sum(1) - products.amin(1))  # above the smallest squared norm
    assert (gap <= 1e-12 * gramian.diagonal(dim1=1, dim2=2).amax(1)).all()


@pytest.mark.parametrize("m", [2, 3, 5])
def test_rows_that_take_no_part_are_as_if_they_were_not_there(m):
    rows = draw(50, m, 9)
    active = draw(50, m, seed=5) > 0
    weights = batched_min_norm(rows @ rows.mT, active=active)
    assert (weights[~active] == 0).all()
    for one, mask, found in zip(rows, active, weights, strict=True):
        if mask.any():
            expected = MGDA().weights(one[mask] @ one[mask].T)
            torch.testing.assert_close(found[mask], expected, rtol=0, atol=1e-9)
        else:
            assert (found == 0).all()


@pytest.mark.parametrize(("ball", "gap"), [(L2(1.0), 1e-9), (Linf(1.0), 0.12)])
def test_max_min_direction_meets_its_dual(ball, gap):
    rows = draw(40, 3, 30) + draw(40, 1, 30, seed=1)
    total = (max_min_weights(rows, ball)[:, None] @ rows)[:, 0]
    step = ball.steepest(total)
    worst = (rows @ step[..., None])[..., 0].amin(1)  # what the step does for the worst task
    dual = (total * step).sum(1)  # no step in the ball can do more
    assert (worst <= dual + 1e-9).all()
    assert ((dual - worst) / dual).mean() < gap
    if isinstance(ball, Linf):
        other = ball.steepest((max_min_weights(rows, L2(1.0))[:, None] @ rows)[:, 0])
        assert worst.mean() > (rows @ other[..., None])[..., 0].amin(1).mean()  # L2's is not it


def problem(seed=0):
    """Two linear victims that look at different pixels, the second one harder to fool."""
    torch.manual_seed(seed)
    models = {"a": nn.Linear(12, 2, bias=False), "b": nn.Linear(12, 2, bias=False)}
    with torch.no_grad():
        models["a"].weight *= 8
        models["b"].weight[:, 6:] *= 0.3
    x = torch.rand(60, 12)
    target = {name: model(x).argmax(1) for name, model in models.items()}
    names = dict.fromkeys(models)
    return (
        Victim(SideBySide(models)).objective(
            target,
            loss=dict.fromkeys(names, cross_entropy),
            success=dict.fromkeys(names, misclassified),
        ),
        x,
    )


def fooled(ascent, *, early_stop=True):
    objective, x = problem()
    attack = PGD(Linf(0.16), steps=15, ascent=ascent, early_stop=early_stop, random_start=False)
    return objective.reached(attack.perturb(objective, x))


@pytest.mark.parametrize("early_stop", [True, False])
def test_goal_mask_fools_more_samples_on_all_tasks(early_stop):
    ball = Linf(0.16)
    plain = fooled(None, early_stop=early_stop).all(1).sum()
    masked = fooled(OneDelta(EW(), ball=ball), early_stop=early_stop).all(1).sum()
    without = fooled(OneDelta(EW(), ball=ball, goal_mask=False), early_stop=early_stop).all(1).sum()
    assert masked > without
    assert masked > 1.2 * plain


@pytest.mark.parametrize(
    "make", [lambda: None, EW, MGDA, PCGrad, CAGrad, RLW, lambda: GoalMask(MGDA())]
)
def test_any_weighting_stays_inside_the_ball(make):
    ball = Linf(0.16)
    objective, x = problem()
    x_adv = PGD(ball, steps=5, ascent=OneDelta(make(), ball=ball)).perturb(objective, x)
    assert (x_adv - x).abs().max() <= 0.16 + 1e-6
    assert objective.reached(x_adv).any()


def test_max_min_for_l2_is_mgda_on_unit_gradients():
    objective, x = problem()
    found = [
        PGD(L2(0.4), steps=4, ascent=OneDelta(w, ball=L2(0.4)), random_start=False).perturb(
            objective, x
        )
        for w in (None, MGDA())
    ]
    torch.testing.assert_close(*found)


@pytest.mark.parametrize("hold", [0.0, 0.25])
def test_a_task_that_is_fooled_has_little_say(hold):
    losses = torch.zeros(2, 2, requires_grad=True)
    x = torch.tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True)
    losses = x * torch.tensor([1.0, 5.0])  # task t's gradient is entry t
    reached = torch.tensor([[True, False], [False, False]])
    ascent = OneDelta(EW(), ball=Linf(0.1), unit=False, hold=hold)
    found = ascent.gradient(losses, reached, x)
    assert torch.equal(found, torch.tensor([[hold, 5.0], [1.0, 5.0]]))
    all_there = torch.ones(2, 2, dtype=torch.bool)
    found = ascent.gradient(losses, all_there, x)
    assert torch.equal(found, torch.tensor([[1.0, 5.0], [1.0, 5.0]]))  # all take part again


@pytest.mark.parametrize("make", [lambda: None, EW, CAGrad])
def test_samples_that_are_done_change_nothing_for_the_others(make):
    objective, x = problem()
    ball = Linf(0.16)

    def attacked(goal, x):
        ascent = OneDelta(make(), ball=ball)
        return PGD(ball, steps=15, ascent=ascent, random_start=False).perturb(goal, x)

    x_adv = attacked(objective, x)
    late = (~objective.reached(x_adv).all(1)).nonzero()[:, 0]
    assert 0 < len(late) < len(x)
    torch.testing.assert_close(attacked(objective.select(late), x[late]), x_adv[late])


def test_a_gradient_that_vanishes_has_no_say():
    x = torch.rand(3, 2, requires_grad=True)
    losses = torch.stack([x[:, 0] * torch.tensor([1, 1, 0.0]), 0 * x[:, 1]], 1)
    found = OneDelta(EW(), ball=Linf(0.1)).gradient(losses, None, x)
    assert torch.equal(found, torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 0.0]]))


def test_what_cannot_work_is_said():
    with pytest.raises(ValueError, match="`ball` should be Linf or L2 for the max-min direction"):
        OneDelta(ball=L1(1.0))
    with pytest.raises(ValueError, match="`hold` should be between 0 and 1"):
        OneDelta(EW(), ball=Linf(0.1), hold=1.5)
    ascent = OneDelta(GradientNormalization(MGDA()), ball=Linf(0.1))
    with pytest.raises(ValueError, match="`weighting` should be a LossWeighting or Gramian"):
        fooled(ascent)


def step(weighting, losses):
    parameter = nn.Parameter(torch.zeros(3, dtype=torch.float64))
    evaluation = Evaluation.from_jacobian(
        torch.eye(3, dtype=torch.float64), torch.tensor(losses), names="abc", parameters=[parameter]
    )
    weighting.setup([*"abc"])
    return weighting.update(evaluation), parameter.grad


@pytest.mark.parametrize("make", [EW, MGDA, PCGrad, CAGrad])
def test_in_training_a_task_below_its_goal_drops_out(make):
    weights, gradient = step(GoalMask(make(), goals={"b": 0.5}), [0.1, 0.4, 0.9])
    assert weights[1] == gradient[1] == 0
    assert (weights[[0, 2]] > 0).all()
    weights, _ = step(GoalMask(make(), goals=1.0), [0.1, 0.4, 0.9])  # all are there: all take part
    assert (weights > 0).all()


def test_without_goals_the_mask_changes_nothing():
    assert isinstance(GoalMask(), Weighting)
    assert torch.equal(step(GoalMask(), [0.1, 0.4, 0.9])[0], torch.ones(3, dtype=torch.float64))


def test_goals_of_unknown_tasks():
    with pytest.raises(ValueError, match="`goals` should name tasks among"):
        GoalMask(goals={"z": 1.0}).setup([*"ab"])
