"""Models that are random in evaluation mode: found out, and attacked on average."""

import pytest
import torch
from torch import nn

from moml.attack import (
    APGD,
    FAB,
    FGSM,
    L2,
    PGD,
    Linf,
    Square,
    Victim,
    cross_entropy,
    margin,
    misclassified,
    robustness_card,
)
from moml.attack._expected import Expected
from moml.data import Batch
from moml.losses import CrossEntropy


class Noisy(nn.Module):
    """Noise on the logits of a linear model, in every mode."""

    def __init__(self, noise=1.0):
        super().__init__()
        torch.manual_seed(0)
        self.linear, self.noise = nn.Linear(16, 2), noise

    def forward(self, x):
        logits = 4 * self.linear(x.flatten(1))
        return logits + self.noise * torch.randn_like(logits)


def setting(noise=1.0, count=64):
    model = Noisy(noise)
    x = torch.rand(count, 16)
    labels = model.linear(x).argmax(1)
    return model, x, labels, Victim(model).objective(labels, loss=margin, success=misclassified)


def fooled(goal, x, passes=50):
    return float(torch.stack([goal.reached(x).double() for _ in range(passes)]).mean())


@pytest.mark.supported
def test_a_model_that_is_random_in_evaluation_mode_is_found_out():
    x = torch.rand(8, 16)
    assert Victim(Noisy()).is_random(x)
    assert not Victim(Noisy(noise=0.0)).is_random(x)
    dropout = nn.Sequential(nn.Linear(16, 16), nn.Dropout(0.5))
    assert not Victim(dropout.train()).is_random(x)  # a victim is held in evaluation mode
    assert all(module.training for module in dropout.modules())

    class Always(nn.Module):
        def forward(self, x):
            return {"a": (x, [torch.nn.functional.dropout(x, 0.5, training=True)])}

    assert Victim(Always()).is_random(x)


@pytest.mark.supported
def test_a_random_model_is_attacked_on_average():
    """An early stop takes luck for success: it ends where one pass was fooled, not the model."""
    model, x, labels, goal = setting()
    ball = Linf(0.4)
    torch.manual_seed(0)
    lucky = fooled(goal, PGD(ball, steps=20).perturb(goal, x))
    average = fooled(goal, PGD(ball, steps=20, eot=20).perturb(goal, x))
    still = Victim(Noisy(noise=0.0))  # what the model does on average, for all there is to win
    plain = still.objective(labels, loss=margin)
    best = fooled(goal, PGD(ball, steps=20).perturb(plain, x))
    assert lucky < average - 0.1
    assert average > best - 0.08
    adaptive = fooled(goal, APGD(ball, steps=20, eot=10).perturb(goal, x))
    assert adaptive > lucky + 0.1
    fast = FGSM(ball, eot=20).perturb(Victim(model).objective(labels, loss=margin), x)
    assert fooled(goal, fast) > best - 0.08


@pytest.mark.parametrize("tasks", [1, 2])
def test_the_mean_of_several_passes_has_the_mean_of_their_gradients(tasks):
    x, scales = torch.rand(5, 3, dtype=torch.float64), iter(range(1, 5))

    def loss(x):
        values = next(scales) * torch.stack([x.square().sum(1), x.sum(1)][:tasks], dim=1)
        return values if tasks > 1 else values[:, 0]

    from moml.attack._objective import as_objective

    goal = Expected(as_objective(loss, lambda x: x[:, 0] > 0.5, x), 4)
    leaf = x.clone().requires_grad_()
    measured = goal.measure(leaf)
    columns = [2.5 * x.square().sum(1), 2.5 * x.sum(1)][:tasks]
    expected = torch.stack(columns, dim=1) if tasks > 1 else columns[0]
    assert torch.allclose(measured.losses, expected)
    assert torch.equal(measured.reached, x[:, 0] > 0.5)
    weights = torch.rand_like(measured.losses)
    (gradient,) = torch.autograd.grad((weights * measured.losses).sum(), leaf)
    weights = weights.reshape(5, -1)
    by_hand = 2.5 * weights[:, :1] * 2 * x + (2.5 * weights[:, 1:] if tasks > 1 else 0)
    assert torch.allclose(gradient, by_hand)


@pytest.mark.supported
def test_a_robustness_card_says_that_the_model_is_random():
    class Named(nn.Module):
        def __init__(self, noise):
            super().__init__()
            self.inner = Noisy(noise)

        def forward(self, x, tasks):
            return {"a": self.inner(x)}

    _, x, labels, _ = setting(count=40)
    batch = [Batch(x, {"a": labels})]
    models = {noise: Named(noise) for noise in (0.0, 1.0)}
    before = torch.get_rng_state()
    cards = {
        noise: robustness_card(
            models[noise],
            batch,
            {"a": CrossEntropy(2)},
            Linf(0.1),
            steps=5,
            curve=(0.0, 1.0),
            eot=8,
        ).tasks["a"]
        for noise in (0.0, 1.0)
    }
    assert torch.equal(torch.get_rng_state(), before)
    assert not cards[0.0].random and cards[0.0].passes == 1
    noisy = cards[1.0]
    assert noisy.random and noisy.passes == 8
    assert set(noisy.attacks) == {"FGSM", "PGD-10", "PGD-50", "APGD-CE", "APGD-DLR"}
    assert 0 < noisy.attacks["PGD-50"] < noisy.clean < 1
    again = robustness_card(
        Named(1.0), batch, {"a": CrossEntropy(2)}, Linf(0.1), steps=5, curve=(0.0, 1.0), eot=8
    )
    assert again.tasks["a"] == noisy  # draws of its own


@pytest.mark.parametrize("make", [Square, FAB], ids=["square", "fab"])
def test_other_attacks_average_too(make):
    _, x, _, goal = setting(count=16)
    looks = []

    class Counting(Expected):
        def measure(self, x):
            looks.append(len(x))
            return super().measure(x)

    option = {"queries": 5} if make is Square else {"steps": 3}
    torch.manual_seed(0)
    one = make(L2(0.5), eot=3, **option).perturb(goal, x)
    torch.manual_seed(0)
    other = make(L2(0.5), **option).perturb(Counting(goal, 3), x)
    assert torch.equal(one, other) and looks
    with pytest.raises(ValueError, match="`eot` should be at least 1"):
        make(L2(0.5), eot=0)
    with pytest.raises(ValueError, match="`eot` should be at least 1"):
        Expected(Victim(nn.Identity()).objective(x, loss=cross_entropy), 0)
