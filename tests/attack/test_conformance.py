"""Every attack in every ball."""

import pytest
import torch

from moml.attack import (
    APGD,
    FGSM,
    L1,
    L2,
    PGD,
    UAP,
    Linf,
    Victim,
    cross_entropy,
    margin,
    misclassified,
)

BALLS = {"linf": Linf, "l2": L2, "l1": L1}
EPS = {"linf": (0.02, 0.05, 0.1), "l2": (0.1, 0.3, 0.8), "l1": (0.5, 1.5, 4.0)}
ATTACKS = {
    "fgsm": FGSM,
    "pgd": lambda ball, **kw: PGD(ball, steps=8, **kw),
    "pgd_restarts": lambda ball, **kw: PGD(ball, steps=3, restarts=2, **kw),
    "apgd": lambda ball, **kw: APGD(ball, steps=12, **kw),
    "apgd_restarts": lambda ball, **kw: APGD(ball, steps=5, restarts=2, **kw),
    "uap": lambda ball, **kw: UAP(ball, epochs=15, **kw),
}
each = [(a, b) for a in ATTACKS for b in BALLS]
each_pair = pytest.mark.parametrize(("attack", "ball"), each, ids=["-".join(e) for e in each])


@pytest.fixture
def goal(weak, samples):
    x, labels = (part[:60] for part in samples)
    return Victim(weak).objective(labels, loss=cross_entropy, success=misclassified), x


@each_pair
def test_inside_the_ball_and_the_bounds_and_the_loss_rises_with_eps(attack, ball, goal):
    objective, x = goal
    with torch.no_grad():
        losses = [float(objective(x).mean())]
    for eps in EPS[ball]:
        around = BALLS[ball](eps)
        x_adv = ATTACKS[attack](around).perturb(objective, x)
        assert x_adv.shape == x.shape and not x_adv.requires_grad
        assert (around.norm(x_adv - x) <= eps * (1 + 1e-5) + 1e-6).all()
        assert x_adv.min() >= 0 and x_adv.max() <= 1
        if attack == "uap":
            with torch.no_grad():
                losses.append(float(objective(x_adv).mean()))
        else:  # fewer right with every radius; an early stop does not go on to raise the loss
            losses.append(float(objective.reached(x_adv).double().mean()))
    assert losses[1:] == sorted(losses[1:])
    assert losses[-1] > (losses[0] if attack == "uap" else losses[1])


@each_pair
def test_without_a_goal_every_loss_rises(attack, ball, goal, weak, samples):
    _, x = goal
    objective = Victim(weak).objective(samples[1][:60], loss=margin)
    x_adv = ATTACKS[attack](BALLS[ball](EPS[ball][-1])).perturb(objective, x)
    with torch.no_grad():
        rise = objective(x_adv) - objective(x)
    assert rise.mean() > 0
    if attack not in ("fgsm", "uap"):
        assert (rise > 0).double().mean() > 0.9


@each_pair
def test_deterministic_under_its_generator(attack, ball, goal):
    objective, x = goal
    make, around = ATTACKS[attack], BALLS[ball](EPS[ball][1])
    first = make(around).perturb(objective, x)
    torch.manual_seed(123)  # the global generator plays no part
    before = torch.get_rng_state()
    assert torch.equal(make(around).perturb(objective, x), first)
    assert torch.equal(torch.get_rng_state(), before)
    if attack != "fgsm":
        assert not torch.equal(make(around, seed=1).perturb(objective, x), first)


@each_pair
def test_plain_functions_give_what_an_objective_gives(attack, ball, goal, weak, samples):
    objective, x = goal
    labels = samples[1][:60]
    x_adv = ATTACKS[attack](BALLS[ball](EPS[ball][1])).perturb(
        lambda x: torch.nn.functional.cross_entropy(weak(x), labels, reduction="none"),
        x,
        success=lambda x: weak(x).argmax(1) != labels,
    )
    expected = ATTACKS[attack](BALLS[ball](EPS[ball][1])).perturb(objective, x)
    # sizes of batches differ, so the last digits may; l1 steps and signs are not continuous
    assert ((x_adv - expected).abs() > 1e-5).double().mean() < 0.01


@each_pair
def test_no_radius_means_no_change_and_no_sample_no_error(attack, ball, goal):
    objective, x = goal
    if attack != "uap":
        empty = objective.select(torch.arange(0))
        assert ATTACKS[attack](BALLS[ball](0.1)).perturb(empty, x[:0]).shape == x[:0].shape
    assert torch.equal(ATTACKS[attack](BALLS[ball](0.0)).perturb(objective, x), x)


@each_pair
def test_errors_say_what_is_wrong(attack, ball, goal):
    objective, x = goal
    it = ATTACKS[attack](BALLS[ball](0.1))
    cases = {
        "before normalisation": (objective, 3 * x - 1),
        "floating point": (objective, (255 * x).byte()),
        "finite and lie within": (objective, x * float("nan")),
        "found shape \\(\\)": (lambda x: x.mean(), x),
        "found shape \\(3,\\)": (lambda x: x[:3].flatten(1).sum(1), x),
        "no path": (lambda x: x.detach().flatten(1).sum(1), x),
        "should be finite, found NaN": (lambda x: (x - 2).log().flatten(1).sum(1), x),
        "gradient of `loss` should be finite": (lambda x: (0 * x).sqrt().flatten(1).sum(1), x),
    }
    for message, (loss, inputs) in cases.items():
        with pytest.raises(ValueError, match=message):
            it.perturb(loss, inputs)
    if attack != "uap":
        with pytest.raises(ValueError, match="`success` should give bools"):
            it.perturb(objective, x, success=lambda x: x.flatten(1).sum(1))


@each_pair
def test_unbounded_signals_and_two_tasks(attack, ball):
    """1-D series, a loss per task, another floating point type."""
    torch.manual_seed(0)
    x = torch.randn(6, 2, 20, dtype=torch.float64) * 3
    weight = torch.randn(2, 40, dtype=torch.float64)
    around = BALLS[ball](0.5)
    x_adv = ATTACKS[attack](around, bounds=None).perturb(lambda x: x.flatten(1) @ weight.T, x)
    assert x_adv.dtype == x.dtype
    assert (around.norm(x_adv - x) <= 0.5 + 1e-6).all()
    rise = ((x_adv - x).flatten(1) @ weight.T).sum(1)  # the sum of both is raised
    best = around.eps * (around.steepest(weight.sum(0)[None]) * weight.sum(0)).sum()
    assert (rise > 0.6 * best).all()


def test_works_without_gradients_and_in_inference_mode(goal):
    objective, x = goal
    expected = PGD(Linf(0.05), steps=3).perturb(objective, x)
    with torch.no_grad():
        assert torch.equal(PGD(Linf(0.05), steps=3).perturb(objective, x), expected)
    with torch.inference_mode():
        assert torch.equal(PGD(Linf(0.05), steps=3).perturb(objective, x.clone()), expected)


def test_wrong_settings_raise():
    with pytest.raises(ValueError, match=r"`(steps|restarts)` should be at least 1"):
        PGD(Linf(0.1), steps=0)
    with pytest.raises(ValueError, match="all runs would be the same"):
        PGD(Linf(0.1), restarts=2, random_start=False)
    with pytest.raises(ValueError, match="`step_size` should be positive"):
        PGD(Linf(0.1), step_size=0.0)
    with pytest.raises(ValueError, match="`bounds` should be"):
        PGD(Linf(0.1), bounds=(1.0, 0.0))
    with pytest.raises(ValueError, match=r"`(steps|restarts)` should be at least 1"):
        APGD(Linf(0.1), restarts=0)
    with pytest.raises(ValueError, match="`epochs`"):
        UAP(Linf(0.1), epochs=0)


def test_shown_as_it_is_set():
    assert repr(PGD(Linf(0.1), steps=5)).startswith("PGD(ball=Linf(eps=0.1), bounds=(0.0, 1.0)")
