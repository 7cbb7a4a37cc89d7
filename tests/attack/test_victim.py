import pytest
import torch
from torch import nn

from moml.attack import (
    APGD,
    FGSM,
    L2,
    PGD,
    UAP,
    Linf,
    Victim,
    cross_entropy,
    loss_above,
    margin,
    misclassified,
    mostly_misclassified,
)
from moml.losses import CosineDistance, MaskedL1, MeanSquaredError

ATTACKS = [FGSM(Linf(0.1)), PGD(L2(1.0)), APGD(Linf(0.1), steps=12), UAP(Linf(0.1), epochs=10)]
each_attack = pytest.mark.parametrize("attack", ATTACKS, ids=lambda a: type(a).__name__)


class Scene(nn.Module):
    """Segmentation, depth, normals and a number, in a dict."""

    def __init__(self):
        super().__init__()
        self.trunk = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU())
        self.dense = nn.Conv2d(8, 5 + 1 + 3, 1)
        self.number = nn.Linear(8, 2)

    def forward(self, x):
        features = self.trunk(x)
        classes, depth, normals = self.dense(features).split([5, 1, 3], 1)
        number = self.number(features.mean((2, 3)))
        return {"classes": classes, "depth": depth, "normals": normals, "number": number}


@pytest.fixture
def scene():
    torch.manual_seed(0)
    model = Scene()
    x = torch.rand(6, 3, 8, 8)
    with torch.no_grad():
        target = dict(Victim(model)(x))
        target["classes"] = target["classes"].argmax(1)
    target["classes"][:, 0] = -1
    return model, x, target


@each_attack
def test_dicts_of_dense_outputs(attack, scene):
    model, x, target = scene
    x = (x + 0.02 * torch.randn(x.shape)).clamp(0, 1)
    losses = {
        "classes": cross_entropy,
        "depth": MaskedL1().per_sample,
        "normals": CosineDistance().per_sample,
        "number": MeanSquaredError().per_sample,
    }
    success = {
        "classes": mostly_misclassified(0.5),
        **{name: loss_above(losses[name], 10.0) for name in ("depth", "normals", "number")},
    }
    goal = Victim(model).objective(target, loss=losses, success=success)
    x_adv = attack.perturb(goal, x)
    with torch.no_grad():
        before, after = goal(x), goal(x_adv)
    assert before.shape == goal.reached(x).shape == (6, 4)
    assert (after.sum(1) > before.sum(1)).all()
    for i, task in enumerate(losses):  # each of them alone, too
        only = Victim(model).objective(
            target[task], loss=lambda out, t, task=task: losses[task](out[task], t)
        )
        with torch.no_grad():
            assert (only(attack.perturb(only, x)) > before[:, i]).double().mean() > 0.8


def test_goals_name_the_tasks_of_the_losses(scene):
    model, _, target = scene
    with pytest.raises(ValueError, match="same tasks as `loss`"):
        Victim(model).objective(target, loss={"depth": MaskedL1().per_sample}, success={})


def test_normalisation_lives_inside(weak, samples):
    """The same perturbation as of a model whose first layer normalises; eps in data space."""
    x, labels = samples[0].expand(-1, 3, -1, -1), samples[1]
    mean, std = (0.2, 0.4, 0.5), (0.3, 0.2, 0.25)

    class Inner(nn.Module):
        def forward(self, x):
            return weak(x.mean(1, keepdim=True) * 0.25 + 0.3)

    class Outer(nn.Module):
        def forward(self, x):
            shift, scale = (torch.tensor(v)[:, None, None] for v in (mean, std))
            return Inner()((x - shift) / scale)

    first, second = (
        PGD(Linf(0.1), steps=5).perturb(victim.objective(labels, loss=margin), x)
        for victim in (Victim(Inner(), mean=mean, std=torch.tensor(std)), Victim(Outer()))
    )
    assert ((first - second).abs() > 1e-5).double().mean() < 0.01
    assert float((first - x).abs().max()) <= 0.1 + 1e-6


def test_normalised_data_raise(weak, samples):
    x, labels = samples
    normalised = (x - 0.3) / 0.4
    victim = Victim(weak, mean=0.3, std=0.4)
    goal = victim.objective(labels, loss=cross_entropy, success=misclassified)
    for call in (victim, goal.reached, lambda x: PGD(Linf(0.1)).perturb(goal, x)):
        with pytest.raises(ValueError, match="before normalisation"):
            call(normalised)
        with pytest.raises(ValueError, match="found values from 0 to 255"):
            call(x / x.max() * 255)
    victim(x.clamp(min=-3e-8) - 2.9e-8)  # rounding is forgiven


def test_bounds_of_attack_and_victim_must_agree(weak, samples):
    x, labels = samples
    goal = Victim(weak, bounds=(0.0, 255.0)).objective(labels, loss=cross_entropy)
    for bounds in ((0.0, 1.0), None):
        with pytest.raises(ValueError, match="should be the victim's"):
            PGD(Linf(0.1), bounds=bounds).perturb(goal, x)
    with pytest.raises(ValueError, match="`bounds` should be"):
        Victim(weak, bounds=(1.0, 1.0))
    with pytest.raises(ValueError, match="`std` should be positive"):
        Victim(weak, std=(1.0, 0.0))


def test_a_signal_without_bounds():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv1d(2, 4, 5), nn.BatchNorm1d(4), nn.ReLU(), nn.Flatten())
    model.append(nn.Linear(4 * 26, 3))
    x, labels = 5 * torch.randn(10, 2, 30), torch.randint(3, (10,))
    victim = Victim(model, bounds=None, mean=0.1, std=5.0)
    goal = victim.objective(labels, loss=margin)
    for attack in (PGD(Linf(0.5), bounds=None), APGD(L2(2.0), bounds=None, steps=20)):
        with torch.no_grad():
            assert (goal(attack.perturb(goal, x)) > goal(x)).all()
    with pytest.raises(ValueError, match="should be finite"):
        victim(x / 0)
