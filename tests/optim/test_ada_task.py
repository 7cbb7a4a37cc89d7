"""AdaTask against a plain loop, its scale toy, and how it lives in training."""

import pytest
import torch
from torch import nn

import moml
from moml import Evaluation
from moml.data import Loader, TensorSource
from moml.optim import AdaTask, GradientStep
from moml.oracle import Direct, Representation
from moml.training.checkpoint import Checkpoint
from moml.weighting import EW, MGDA, GradDrop
from tests.helpers import batch, network, problem

RULES = ("adam", "rmsprop", "adagrad")
PLAIN = {
    "adam": torch.optim.Adam,
    "rmsprop": lambda p, lr: torch.optim.RMSprop(p, lr, alpha=0.999),
    "adagrad": torch.optim.Adagrad,
}


class Quadratics(moml.Problem):
    """``scale_k (x - target_k)^2 / 2`` for every task."""

    tasks, module = (), None

    def __init__(self, targets, scales, start=0.5):
        self.targets, self.scales = targets, scales
        self.tasks = tuple(f"task{k}" for k in range(len(targets)))
        self.module = nn.ParameterDict({"x": torch.tensor([start], dtype=torch.float64)})

    @property
    def x(self):
        return self.module["x"].item()

    def losses(self, data):
        x = self.module["x"]
        pairs = zip(self.tasks, self.targets, self.scales, strict=True)
        return {name: 0.5 * scale * (x - t).square().sum() for name, t, scale in pairs}

    def shared_parameters(self):
        return self.module.parameters()

    def private_parameters(self, task):
        return []


def minimise(task_problem, optimizer, *, steps=1500, weighting=None):
    cosine = torch.optim.lr_scheduler.CosineAnnealingLR
    updater = GradientStep(optimizer, scheduler=lambda o: cosine(o, steps))
    moml.fit(task_problem, Direct(), weighting or EW(), updater, [None], steps=steps)
    return task_problem.x


@pytest.mark.parametrize("rule", RULES)
def test_the_scale_toy(rule):
    """f1 = (x - 1)^2 / 2, f2 = 10^4 (x + 1)^2 / 2: the plain rule goes to f2's minimum, -1.

    AdaTask's two steps are equal and opposite anywhere between the minima: from 0 it stays at 0.
    """
    rate = 0.5 if rule == "adagrad" else 0.01
    plain, fair = (Quadratics([1.0, -1.0], [1.0, 1e4], start=0.0) for _ in range(2))
    end = minimise(plain, PLAIN[rule](plain.module.parameters(), rate), steps=400)
    assert end == pytest.approx(-1.0, abs=0.05)
    end = minimise(fair, AdaTask(fair.module.parameters(), rate, rule=rule), steps=400)
    assert end == pytest.approx(0.0, abs=1e-4)


@pytest.mark.parametrize("rule", RULES)
def test_between_the_minima_scales_do_not_matter_but_the_start_does(rule):
    for start in (-0.5, 0.5):
        toy = Quadratics([1.0, -1.0], [1.0, 1e4], start=start)
        end = minimise(toy, AdaTask(toy.module.parameters(), 0.01, rule=rule), steps=100)
        assert end == pytest.approx(start, abs=1e-3)


def by_hand(rule, gradients, *, lr=0.1, betas=(0.9, 0.99), eps=1e-8):
    """Sum of the tasks' steps, for gradients (steps, tasks, n)."""
    a, b = betas
    m, v = torch.zeros_like(gradients[0]), torch.zeros_like(gradients[0])
    x = torch.zeros_like(gradients[0, 0])
    for t, g in enumerate(gradients, start=1):
        if rule == "adagrad":
            v = v + g**2
            x = x - lr * (g / (v.sqrt() + eps)).sum(0)
        elif rule == "rmsprop":
            v = b * v + (1 - b) * g**2
            x = x - lr * (g / (v.sqrt() + eps)).sum(0)
        else:
            m, v = a * m + (1 - a) * g, b * v + (1 - b) * g**2
            x = x - lr * (m / (1 - a**t) / ((v / (1 - b**t)).sqrt() + eps)).sum(0)
    return x


@pytest.mark.parametrize("rule", RULES)
def test_steps_are_the_sum_of_the_tasks_steps(rule):
    draw = torch.Generator().manual_seed(0)
    gradients = torch.randn(12, 3, 5, generator=draw, dtype=torch.float64)
    parameter = nn.Parameter(torch.zeros(5, dtype=torch.float64))
    optimizer = AdaTask([parameter], 0.1, rule=rule, betas=(0.9, 0.99))
    for rows in gradients:
        evaluation = Evaluation.from_jacobian(rows, torch.ones(3), parameters=[parameter])
        parameter.grad = rows.sum(0)
        optimizer.hand_over(evaluation, torch.ones(3, dtype=torch.float64))
        optimizer.step()
    torch.testing.assert_close(parameter.detach(), by_hand(rule, gradients))


@pytest.mark.parametrize("rule", RULES)
def test_without_task_gradients_it_is_the_plain_rule(rule):
    pair = [nn.Parameter(torch.ones(4, dtype=torch.float64)) for _ in range(2)]
    optimizers = AdaTask([pair[0]], 0.05, rule=rule), PLAIN[rule]([pair[1]], 0.05)
    for optimizer, parameter in zip(optimizers, pair, strict=True):
        for step in range(6):
            parameter.grad = (parameter * (step + 1)).detach() - 1.0
            optimizer.step()
    # PyTorch's AdaGrad has another epsilon
    torch.testing.assert_close(*(p.detach() for p in pair), rtol=1e-6, atol=1e-6)


def test_scaling_a_loss_changes_nothing():
    ends = []
    for scale in (1.0, 1e3):
        toy = Quadratics([1.0, -2.0], [1.0, scale])
        ends.append(minimise(toy, AdaTask(toy.module.parameters(), 0.01), steps=60))
    assert ends[0] == pytest.approx(ends[1], abs=1e-6)


def train(make, *, steps, folder=None, resume=False, oracle=Direct, clip=None, weighting=MGDA):
    model = network()
    updater = GradientStep(
        make(model.parameters()),
        scheduler=lambda o: torch.optim.lr_scheduler.StepLR(o, 3),
        clip_norm=clip,
    )
    data = batch(size=40)
    present = {"b": torch.arange(40) < 22}
    source = TensorSource(data.inputs, data.targets, present)
    checkpoint = None if folder is None else Checkpoint(folder, every=1, resume=resume)
    moml.fit(
        problem(model), oracle(), weighting(), updater, Loader(source, 8, shuffle=True),
        steps=steps, checkpoint=checkpoint,
    )  # fmt: skip
    return torch.cat([p.detach().flatten() for p in model.parameters()])


@pytest.mark.parametrize("rule", RULES)
def test_a_resumed_run_ends_with_the_same_bits(rule, tmp_path):
    def make(parameters):
        return AdaTask(parameters, 0.02, rule=rule)

    whole = train(make, steps=9)
    train(make, steps=5, folder=tmp_path)
    assert torch.equal(whole, train(make, steps=9, folder=tmp_path, resume=True))


def test_heads_get_the_plain_rule_and_one_task_is_adam():
    model, other = network(("a",)), network(("a",))
    data = batch(("a",))
    for net, optimizer in (
        (model, AdaTask(model.parameters(), 0.01)),
        (other, torch.optim.Adam(other.parameters(), 0.01)),
    ):
        moml.fit(problem(net), Direct(), EW(), optimizer, [data], steps=5)
    for a, b in zip(model.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(a, b)


def test_weight_decay_acts_once():
    parameter = nn.Parameter(torch.ones(2, dtype=torch.float64))
    optimizer = AdaTask([parameter], 0.1, weight_decay=0.5)
    rows = torch.zeros(3, 2, dtype=torch.float64)
    parameter.grad = rows.sum(0)
    optimizer.hand_over(Evaluation.from_jacobian(rows, torch.ones(3), parameters=[parameter]),
                        torch.ones(3))  # fmt: skip
    optimizer.step()
    assert parameter.tolist() == pytest.approx([0.95, 0.95])


def test_clipping_scales_the_tasks_gradients():
    """Adagrad sees the size of gradients, so clipping shows."""

    def make(parameters):
        return AdaTask(parameters, 0.1, rule="adagrad", eps=0.1)

    free, clipped = (train(make, steps=1, clip=c, weighting=EW) for c in (None, 0.05))
    assert not torch.allclose(free, clipped)
    assert torch.equal(free, train(make, steps=1, clip=1e9, weighting=EW))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"oracle": Representation}, "gradients with respect to parameters"),
        ({"weighting": GradDrop}, "one weight per task for AdaTask"),
    ],
)
def test_what_it_cannot_do_is_explained(options, message):
    with pytest.raises(ValueError, match=message):
        train(AdaTask, steps=1, **options)


def test_bad_options_are_explained():
    parameters = [nn.Parameter(torch.ones(1))]
    for options in ({"rule": "sgd"}, {"lr": -1.0}, {"betas": (1.0, 0.9)}):
        with pytest.raises(ValueError, match=r"`\w+` should (not )?be .*, found"):
            AdaTask(parameters, **options)
