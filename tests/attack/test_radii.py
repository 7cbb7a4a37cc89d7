"""Every attack with a radius and bounds of its own for every entry or sample, and masks."""

import pytest
import torch
from scipy.optimize import minimize

from moml.attack import (
    APGD,
    FAB,
    FGSM,
    L1,
    L2,
    PGD,
    UAP,
    Linf,
    Square,
    Victim,
    each_target,
    margin,
    misclassified,
    worst_case,
)
from moml.attack.generator import Generator, ImageDecoder, ImageEncoder
from moml.attack.one_delta import OneDelta

BALLS = {"linf": Linf, "l2": L2, "l1": L1}
ATTACKS = {
    "fgsm": FGSM,
    "pgd": lambda ball, **kw: PGD(ball, steps=4, **kw),
    "pgd_restarts": lambda ball, **kw: PGD(ball, steps=2, restarts=2, **kw),
    "apgd": lambda ball, **kw: APGD(ball, steps=6, **kw),
    "uap": lambda ball, **kw: UAP(ball, epochs=4, **kw),
    "square": lambda ball, **kw: Square(ball, queries=12, **kw),
    "fab": lambda ball, **kw: FAB(ball, steps=4, **kw),
}
each = [(a, b) for a in ATTACKS for b in BALLS if (a, b) != ("square", "l1")]
each_pair = pytest.mark.parametrize(("attack", "ball"), each, ids=["-".join(e) for e in each])


class Linear(torch.nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(3)
        self.weight = torch.nn.Parameter(torch.randn(3, 2 * 4 * 4))

    def forward(self, x):
        return x.flatten(1) @ self.weight.T


def setting(kind, bounds=(0.0, 1.0)):
    """Inputs ``(5, 2, 4, 4)`` and a goal that is not reached yet by most of them."""
    torch.manual_seed(0)
    x = torch.rand(5, 2, 4, 4)
    model = Linear()
    labels = model(x).argmax(1)
    goal = Victim(model, bounds=bounds).objective(labels, loss=margin, success=misclassified)
    if kind == "feature":
        radii = torch.rand(2, 1, 4) + 0.05
    elif kind == "sample":
        radii = (0.1 * torch.arange(5.0)).reshape(5, 1, 1, 1)
    else:
        radii = torch.rand(5, 2, 4, 4) + 0.05
    return x, goal, radii


@pytest.mark.supported
@each_pair
@pytest.mark.parametrize("kind", ["feature", "sample", "entry"])
def test_a_radius_of_its_own_for_every_feature_and_sample(attack, ball, kind):
    if attack == "uap" and kind != "feature":
        pytest.skip("one perturbation has one radius; see the refusal")
    x, goal, radii = setting(kind)
    around = BALLS[ball](radii)
    assert around.eps == pytest.approx(float(radii.max()))
    x_adv = ATTACKS[attack](around).perturb(goal, x)
    relative = (x_adv - x) / radii
    relative = torch.where(x_adv == x, 0, relative).flatten(1)
    size = {"linf": relative.abs().amax(1), "l2": relative.norm(dim=1), "l1": relative.abs().sum(1)}
    assert (size[ball] <= 1 + 1e-5).all()
    assert (x_adv - x).abs().flatten(1).sum(1)[-1] > 0 or attack == "fab"
    assert x_adv.min() >= 0 and x_adv.max() <= 1
    with torch.no_grad():
        rise = (goal(x_adv) - goal(x)).flatten()
    assert rise.mean() > 0 or attack == "fab"  # which gives the clean sample if it found nothing
    assert torch.equal(ATTACKS[attack](around).perturb(goal, x), x_adv)


@pytest.mark.supported
@each_pair
def test_immutable_features_never_change(attack, ball):
    x, goal, _ = setting("feature")
    mutable = torch.rand(2, 4, 4) < 0.5
    around = BALLS[ball](2.0 if ball == "l1" else 0.5, mutable=mutable)
    it = ATTACKS[attack](around)
    x_adv = it.nearest(goal, x) if attack == "fab" else it.perturb(goal, x)
    assert torch.equal(x_adv[:, ~mutable], x[:, ~mutable])
    assert not torch.equal(x_adv, x)
    if attack == "fab":
        return
    assert (around.norm(x_adv - x) <= around.eps * (1 + 1e-5)).all()
    plain = BALLS[ball](around.eps)
    assert (plain.norm(x_adv - x) <= around.eps * (1 + 1e-5)).all()


@pytest.mark.supported
@each_pair
@pytest.mark.parametrize("kind", ["channel", "sample"])
def test_bounds_of_their_own_for_every_feature_and_sample(attack, ball, kind):
    x, goal, _ = setting("feature", bounds=None)
    shape = (2, 1, 1) if kind == "channel" else (5, 1, 1, 1)
    low = torch.linspace(-1, 0, shape[0]).reshape(shape)
    high = torch.linspace(1.2, 3, shape[0]).reshape(shape)
    x = low + (high - low) * x
    x_adv = ATTACKS[attack](BALLS[ball](0.9), bounds=(low, high)).perturb(goal, x)
    assert (x_adv >= low).all() and (x_adv <= high).all()
    assert (BALLS[ball](0.9).norm(x_adv - x) <= 0.9 * (1 + 1e-5)).all()
    with pytest.raises(ValueError, match="lie within its bounds of shape"):
        ATTACKS[attack](BALLS[ball](0.9), bounds=(low, high)).perturb(goal, x + 1)


@each_pair
def test_equal_radii_are_the_plain_ball(attack, ball):
    x, goal, _ = setting("feature")
    plain = ATTACKS[attack](BALLS[ball](0.4)).perturb(goal, x)
    same = ATTACKS[attack](BALLS[ball](torch.full((2, 1, 1), 0.4))).perturb(goal, x)
    assert torch.allclose(plain, same, atol=1e-5)


def test_the_worst_case_takes_radii_and_bounds_along():
    x, _, radii = setting("sample")
    model = Linear()
    labels = model(x).argmax(1)
    goals = each_target(Victim(model, bounds=None), labels, x)
    bounds = (torch.zeros(5, 1, 1, 1), torch.ones(5, 1, 1, 1))
    attack = APGD(Linf(radii), steps=5, bounds=bounds)
    x_adv = worst_case([(attack, goal) for goal in goals], x)
    assert ((x_adv - x).abs() <= radii + 1e-6).all()
    assert (x_adv != x).any()


def nearest(ball, point, radii, limits=None):
    """By a general solver, on positive and negative parts, so that L1 has no corners."""
    if ball == "linf":
        return point.clip(-radii, radii)
    n, power = len(point), 2 if ball == "l2" else 1
    parts = minimize(
        lambda d: ((d[:n] - d[n:] - point) ** 2).sum(),
        [0.0] * (2 * n),
        bounds=[(0, limit) for limit in limits or [None] * (2 * n)],
        constraints={
            "type": "ineq",
            "fun": lambda d: 1 - (((d[:n] + d[n:]) / radii) ** power).sum(),
        },
        options={"maxiter": 500, "ftol": 1e-14},
    ).x
    return parts[:n] - parts[n:]


@pytest.mark.parametrize("ball", ["linf", "l2", "l1"])
def test_projection_is_the_nearest_point_of_the_stretched_ball(ball):
    generator = torch.Generator().manual_seed(0)
    radii = torch.rand(12, 5, generator=generator, dtype=torch.float64) + 0.1
    radii[:, 1] = 0
    points = 2 * torch.randn(12, 5, generator=generator, dtype=torch.float64)
    around = BALLS[ball](radii)
    found = around.project(points)
    assert (around.norm(found) <= around.eps * (1 + 1e-9)).all()
    assert (found[:, 1] == 0).all()
    for point, r, projected in zip(points, radii, found, strict=True):
        kept = r > 0
        expected = nearest(ball, point[kept].numpy(), r[kept].numpy())
        assert torch.allclose(projected[kept], torch.as_tensor(expected), atol=3e-5)
    inside = found * 0.99
    assert torch.allclose(around.project(inside), inside, atol=1e-12)


def test_projection_onto_a_stretched_l1_ball_and_a_box():
    generator = torch.Generator().manual_seed(1)
    radii = torch.rand(15, 5, generator=generator, dtype=torch.float64) + 0.2
    x = torch.rand(15, 5, generator=generator, dtype=torch.float64)
    points = 2 * torch.randn(15, 5, generator=generator, dtype=torch.float64)
    around = L1(radii)
    found = around.project(points, box=(-x, 1 - x))
    for clean, point, r, projected in zip(x, points, radii, found, strict=True):
        limits = torch.cat([1 - clean, clean]).tolist()
        expected = nearest("l1", point.numpy(), r.numpy(), limits)
        assert torch.allclose(projected, torch.as_tensor(expected), atol=3e-5)


@pytest.mark.parametrize("ball", ["linf", "l2", "l1"])
def test_draws_and_steps_fill_the_stretched_ball(ball):
    radii = torch.tensor([0.2, 1.0, 0.5, 0.0])
    around = BALLS[ball](radii)
    x = torch.zeros(3000, 4)
    delta = around.sample(x, torch.Generator().manual_seed(0))
    assert (around.norm(delta) <= 1 + 1e-6).all() and (delta[:, 3] == 0).all()
    half = (around.norm(delta) < 0.5).double().mean()  # uniform in three dimensions
    assert float(half) == pytest.approx(0.5**3, abs=0.02)
    gradient = torch.randn(50, 4)
    step = around.steepest(gradient)
    assert torch.allclose(around.norm(step), torch.ones(50), atol=1e-5)
    rise = (step * gradient).sum(1)
    for seed in range(10):
        other = around.sample(gradient, torch.Generator().manual_seed(seed))
        assert ((other * gradient).sum(1) <= rise + 1e-5).all()


def test_a_generator_and_one_delta_keep_to_the_mask():
    from moml.architecture import HPS

    mutable = torch.zeros(1, 8, 8, dtype=torch.bool)
    mutable[:, :3] = True
    x = torch.rand(4, 1, 8, 8)
    encoder = ImageEncoder(1, width=8)
    network = HPS(encoder, {"a": ImageDecoder(encoder.out_features)})
    for ball in (Linf(0.1, mutable=mutable), L2(1.0, mutable=mutable)):
        x_adv = Generator(network, ball=ball)(x)["a"]
        assert torch.equal(x_adv[:, ~mutable], x[:, ~mutable])
        assert (ball.norm(x_adv - x) <= ball.eps * (1 + 1e-5)).all()
    weight = torch.randn(64, 2)
    ball = Linf(0.1, mutable=mutable)
    attack = PGD(ball, steps=3, ascent=OneDelta(ball=ball, goal_mask=False))
    x_adv = attack.perturb(lambda x: x.flatten(1) @ weight, x)
    assert torch.equal(x_adv[:, ~mutable], x[:, ~mutable]) and not torch.equal(x_adv, x)


@pytest.mark.refused("radii and bounds that fit no input; one perturbation has one radius")
def test_radii_and_bounds_that_do_not_fit_the_inputs():
    x, goal, radii = setting("sample")
    with pytest.raises(ValueError, match=r"`eps` and `mutable` should broadcast with inputs \(5"):
        PGD(Linf(torch.ones(3, 4, 4))).perturb(goal, x)
    with pytest.raises(ValueError, match=r"should broadcast with inputs \(1, 2, 4, 4\)"):
        UAP(Linf(radii)).perturb(goal, x)
    with pytest.raises(ValueError, match=r"at least 0, found -0\.1 to 1"):
        Linf(torch.tensor([-0.1, 1.0]))
    free = goal.victim.model
    labels = free(x).argmax(1)
    loose = Victim(free, bounds=None).objective(labels, loss=margin)
    with pytest.raises(ValueError, match="`bounds` should broadcast with inputs"):
        PGD(Linf(0.1), bounds=(torch.zeros(3), torch.ones(3))).perturb(loose, x)
    with pytest.raises(ValueError, match="low < high, found of shape"):
        PGD(Linf(0.1), bounds=(torch.zeros(4), torch.tensor([1.0, 1, 0, 1])))
    with pytest.raises(ValueError, match="should be the victim's"):
        PGD(Linf(0.1), bounds=(torch.zeros(4), torch.ones(4))).perturb(goal, x)


@pytest.mark.supported
@each_pair
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_inputs_of_half_precision_stay_in_the_ball(attack, ball, dtype):
    x, _, _ = setting("feature")
    x = x.to(dtype)
    eps = {"linf": 0.031, "l2": 0.2, "l1": 0.7}[ball]
    weight = Linear().weight.detach().sum(0)

    def loss(x_adv):
        assert x_adv.dtype == dtype
        return x_adv.float().flatten(1) @ weight - (x.float().flatten(1) @ weight) - 0.01

    around = BALLS[ball](eps)
    x_adv = ATTACKS[attack](around).perturb(loss, x)
    assert x_adv.dtype == dtype and not torch.equal(x_adv, x)
    assert (around.norm(x_adv.double() - x.double()) <= eps * (1 + 1e-7)).all()
    assert x_adv.min() >= 0 and x_adv.max() <= 1
    if attack in ("pgd", "apgd"):  # small steps are not lost in rounding
        best = (
            around.steepest(weight.reshape(1, 2, 4, 4)) * weight.reshape(1, 2, 4, 4)
        ).sum() * eps
        assert float(loss(x_adv).mean()) > 0.5 * float(best)
