import copy
import warnings

import pytest
import torch
from torch.nn import functional

from moml.attack import (
    FGSM,
    L1,
    L2,
    PGD,
    Linf,
    Victim,
    classified_as,
    cross_entropy,
    misclassified,
    targeted,
)


def hand_linf(model, x, labels, eps, size, steps):
    x_adv = x
    for _ in range(steps):
        leaf = x_adv.clone().requires_grad_()
        (g,) = torch.autograd.grad(functional.cross_entropy(model(leaf), labels), leaf)
        x_adv = torch.min(torch.max(x_adv + size * g.sign(), x - eps), x + eps).clamp(0, 1)
    return x_adv


def hand_l2(model, x, labels, eps, size, steps):
    x_adv = x
    for _ in range(steps):
        leaf = x_adv.clone().requires_grad_()
        (g,) = torch.autograd.grad(functional.cross_entropy(model(leaf), labels), leaf)
        delta = x_adv + size * g / g.flatten(1).norm(dim=1)[:, None, None, None] - x
        long = delta.flatten(1).norm(dim=1)[:, None, None, None]
        x_adv = (x + delta * (eps / long).clamp(max=1)).clamp(0, 1)
    return x_adv


BY_HAND = {Linf(0.1): hand_linf, L2(0.6): hand_l2}


def close(found, expected, share=0.0):
    """To 1e-6, but for entries where rounding decides the sign of a gradient that is zero."""
    assert ((found - expected).abs() > 1e-6).double().mean() <= share


@pytest.mark.parametrize("ball", BY_HAND, ids=str)
@pytest.mark.parametrize("victim", ["weak", "robust"])
def test_without_random_start_it_is_the_loop_by_hand(ball, victim, samples, request):
    # in double precision: where a network is sure, rounding decides a single gradient's direction
    model, x = copy.deepcopy(request.getfixturevalue(victim)).double(), samples[0].double()
    labels = samples[1]
    goal = Victim(model).objective(labels, loss=cross_entropy)
    attack = PGD(ball, steps=10, step_size=ball.eps / 4, random_start=False)
    expected = BY_HAND[ball](model, x, labels, ball.eps, ball.eps / 4, 10)
    close(attack.perturb(goal, x), expected)


@pytest.mark.parametrize("ball", [Linf(0.1), L2(0.6)], ids=str)
@pytest.mark.parametrize("victim", ["weak", "robust"])
def test_images_are_foolbox_images(ball, victim, samples, request):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it imports what SciPy will drop
        foolbox = pytest.importorskip("foolbox")
    model, (x, labels) = request.getfixturevalue(victim), samples
    kind = {"Linf": "LinfPGD", "L2": "L2PGD"}[type(ball).__name__]
    peer = getattr(foolbox.attacks, kind)(abs_stepsize=ball.eps / 4, steps=10, random_start=False)
    wrapped = foolbox.PyTorchModel(model, bounds=(0, 1))
    _, expected, _ = peer(wrapped, x, labels, epsilons=ball.eps)
    model.zero_grad(set_to_none=True)  # it leaves gradients behind
    goal = Victim(model).objective(labels, loss=cross_entropy)
    attack = PGD(ball, steps=10, step_size=ball.eps / 4, random_start=False)
    close(attack.perturb(goal, x), expected.detach())


@pytest.mark.parametrize("ball", [Linf(0.1), L2(0.6), L1(4.0)], ids=str)
def test_fgsm_is_one_full_step(ball, weak, samples):
    x, labels = samples
    goal = Victim(weak).objective(labels, loss=cross_entropy)
    one = PGD(ball, steps=1, step_size=ball.eps, random_start=False)
    assert torch.equal(FGSM(ball).perturb(goal, x), one.perturb(goal, x))
    if isinstance(ball, Linf):
        close(one.perturb(goal, x), hand_linf(weak, x, labels, ball.eps, ball.eps, 1))


@pytest.mark.parametrize("victim", ["weak", "robust"])
@pytest.mark.parametrize("restarts", [1, 3])
def test_early_stop_finds_the_same_robust_accuracy(victim, restarts, samples, request):
    model, (x, labels) = request.getfixturevalue(victim), samples
    goal = Victim(model).objective(labels, loss=cross_entropy, success=misclassified)
    fooled = [
        goal.reached(PGD(Linf(0.06), steps=10, restarts=restarts, early_stop=stop).perturb(goal, x))
        for stop in (True, False)
    ]
    assert (fooled[1] <= fooled[0]).all()  # who was fooled on the way may escape at the end
    assert (fooled[0] != fooled[1]).double().mean() <= 0.015


def test_early_stop_leaves_finished_samples_out(weak, samples):
    x, labels = samples
    sizes = []

    def loss(logits, labels):
        sizes.append(len(logits))
        return cross_entropy(logits, labels)

    goal = Victim(weak).objective(labels, loss=loss, success=misclassified)
    PGD(Linf(0.1), steps=10, random_start=False).perturb(goal, x)
    assert sizes[0] == len(x) and sizes == sorted(sizes, reverse=True)
    assert sizes[-1] < len(x) / 4
    wrong = Victim(weak).objective(labels, loss=cross_entropy, success=misclassified).reached(x)
    x_adv = PGD(Linf(0.1), random_start=False).perturb(goal, x)
    assert torch.equal(x_adv[wrong], x[wrong])  # nothing to do there


def test_more_restarts_are_not_weaker(robust, samples):
    x, labels = samples
    goal = Victim(robust).objective(labels, loss=cross_entropy, success=misclassified)
    fooled = [
        goal.reached(PGD(Linf(0.08), steps=3, restarts=n).perturb(goal, x)).double().mean()
        for n in (1, 2, 5)
    ]
    assert fooled[0] <= fooled[1] <= fooled[2]


def test_targeted(weak, samples):
    x, labels = samples
    wanted = (labels + 1) % 10
    goal = Victim(weak).objective(wanted, loss=targeted(cross_entropy), success=classified_as)
    attack = PGD(Linf(0.2), steps=20)
    assert goal.reached(attack.perturb(goal, x)).double().mean() > 0.8


def test_an_ascent_decides_between_tasks(weak, samples):
    """The hook for multi-task attacks: rows of finished samples are gone, masks come along."""
    from moml.attack import Ascent, input_gradient

    seen = []

    class First(Ascent):
        def gradient(self, losses, reached, x):
            seen.append((losses.shape, reached.shape))
            return input_gradient(losses[:, 0].sum(), x)

    x, labels = samples
    two = {"own": labels, "next": (labels + 1) % 10}
    goal = Victim(weak).objective(
        two,
        loss=lambda z, t: torch.stack([cross_entropy(z, t[k]) for k in t], 1),
        success=lambda z, t: torch.stack([z.argmax(1) != t["own"], z.argmax(1) == t["next"]], 1),
    )
    x_adv = PGD(Linf(0.1), ascent=First(), random_start=False).perturb(goal, x)
    assert all(losses == reached and losses[1] == 2 for losses, reached in seen)
    own = Victim(weak).objective(labels, loss=cross_entropy)
    expected = PGD(Linf(0.1), random_start=False).perturb(own, x)
    open_ = ~goal.reached(x_adv).all(1)
    close(x_adv[open_], expected[open_], share=0.01)
