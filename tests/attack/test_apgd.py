import pytest
import torch

from moml.attack import (
    APGD,
    L1,
    L2,
    PGD,
    Linf,
    Victim,
    cross_entropy,
    dlr,
    each_target,
    margin,
    misclassified,
    worst_case,
)
from moml.attack._halving_run import HalvingRun

BALLS = [Linf(0.1), L2(0.6), L1(4.0)]


@pytest.mark.parametrize("ball", BALLS, ids=str)
@pytest.mark.parametrize(
    "loss",
    [margin, pytest.param(cross_entropy, marks=pytest.mark.slow)],
    ids=lambda f: f.__name__,
)
def test_not_weaker_than_pgd_with_as_many_gradients(ball, loss, robust, samples):
    x, labels = samples
    goal = Victim(robust).objective(labels, loss=loss)
    steps = 40
    with torch.no_grad():
        losses = {
            kind: goal(kind(ball, steps=steps).perturb(goal, x)).double() for kind in (PGD, APGD)
        }
    assert losses[APGD].mean() >= losses[PGD].mean()
    with_goal = Victim(robust).objective(labels, loss=loss, success=misclassified)
    fooled = {
        kind: int(with_goal.reached(kind(ball, steps=steps).perturb(with_goal, x)).sum())
        for kind in (PGD, APGD)
    }
    assert fooled[APGD] >= fooled[PGD]


def test_the_loss_it_returns_is_the_best_it_saw(robust, samples):
    x, labels = samples
    seen = []

    def loss(logits, labels):
        losses = cross_entropy(logits, labels)
        seen.append(losses.detach())
        return losses

    x_adv = APGD(Linf(0.1), steps=20).perturb(Victim(robust).objective(labels, loss=loss), x)
    assert len(seen) == 21  # one more look than gradients
    best = torch.stack(seen).amax(0)
    with torch.no_grad():
        found = Victim(robust).objective(labels, loss=cross_entropy)(x_adv)
    assert torch.allclose(found, best, atol=1e-5)


def test_checkpoints_are_the_papers():
    """Shares 0.22, 0.41, 0.57, 0.70, 0.80, 0.87, 0.93, 0.99 of 100 steps."""
    checkpoints = HalvingRun.checkpoints
    assert list(checkpoints(100)) == [22, 41, 57, 70, 80, 87, 93, 99]
    assert list(checkpoints(100).values()) == [22, 19, 16, 13, 10, 7, 6, 6]
    assert all(sum(checkpoints(n).values()) == max(checkpoints(n)) for n in range(1, 60))


def test_it_climbs_a_ridge_that_fixed_steps_leap_over():
    """A quadratic with its top inside the ball: step sizes must shrink to reach it."""
    torch.manual_seed(0)
    top = torch.rand(30, 10, dtype=torch.float64) * 0.5 + 0.25
    x = torch.full_like(top, 0.5)

    def loss(x):
        return -((x - top) ** 2 * torch.logspace(0, 2, 10)).sum(1)

    ball = Linf(0.3)
    adaptive = loss(APGD(ball, steps=100).perturb(loss, x))
    fixed = loss(PGD(ball, steps=100).perturb(loss, x))
    assert adaptive.median() > -1e-3 and adaptive.mean() > 0.3 * fixed.mean()


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("ball", BALLS, ids=str)
def test_tasks_of_two_and_three_classes(classes, ball, weak_of, samples):
    x, labels = samples[0], samples[1] % classes
    victim = Victim(weak_of[classes])
    weak_ball = type(ball)(ball.eps / 2)
    results = {}
    for loss in (cross_entropy, margin, dlr):
        goal = victim.objective(labels, loss=loss, success=misclassified)
        x_adv = APGD(weak_ball, steps=30).perturb(goal, x)
        results[loss.__name__] = float(goal.reached(x_adv).double().mean())
    targets = each_target(victim, labels, x)
    assert len(targets) == classes - 1
    x_adv = worst_case([(APGD(weak_ball, steps=30), target) for target in targets], x)
    results["targeted"] = float(goal.reached(x_adv).double().mean())
    clean = float(goal.reached(x).double().mean())
    assert min(results.values()) > clean + 0.2
    assert max(results.values()) - min(results.values()) <= 0.1


def test_worst_case_is_worse_than_each(robust, samples):
    x, labels = samples
    victim, attack = Victim(robust), APGD(Linf(0.1), steps=10)
    goals = [
        victim.objective(labels, loss=loss, success=misclassified) for loss in (cross_entropy, dlr)
    ]
    each = [goal.reached(attack.perturb(goal, x)) for goal in goals]
    x_adv = worst_case([(attack, goal) for goal in goals], x)
    together = goals[0].reached(x_adv)
    assert int(together.sum()) >= max(int(fooled.sum()) for fooled in each)
    wrong = goals[0].reached(x)
    assert torch.equal(x_adv[wrong], x[wrong])
    assert ((x_adv - x).abs() <= 0.1 + 1e-6).all()
    with pytest.raises(ValueError, match="objectives with a goal"):
        worst_case([(attack, victim.objective(labels, loss=dlr))], x)


def test_in_the_l1_ball_it_comes_from_larger_ones(robust, samples):
    x, labels = samples
    sizes, ball = [], L1(4.0)

    def loss(x_adv):
        sizes.append(float(ball.norm(x_adv.detach() - x).max()))
        return cross_entropy(robust(x_adv), labels)

    x_adv = APGD(ball, steps=20).perturb(loss, x)
    seen = torch.tensor(sizes) / ball.eps
    assert len(seen) == 23  # one more look than gradients at each radius
    assert (seen[:7] <= 3 + 1e-4).all() and seen[:7].max() > 2.9
    assert (seen[7:14] <= 2 + 1e-4).all() and seen[7:14].max() > 1.9
    assert (seen[14:] <= 1 + 1e-4).all()
    assert x_adv.min() >= 0 and x_adv.max() <= 1
