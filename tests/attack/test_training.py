"""Robust training: the problems, and that they make networks robust."""

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

import moml
from moml.architecture import LTB, DSelectK
from moml.attack import PGD, Linf
from moml.attack.training import AWP, TRADES, Adversarial
from moml.attack.training.trades import class_distance
from moml.data import Batch, Loader
from moml.losses import CrossEntropy, MeanSquaredError
from moml.oracle import Direct, Representation
from moml.weighting import EW, MGDA, UPGrad
from tests.helpers import TASKS, batch, network

LOSSES = {task: CrossEntropy(3) for task in TASKS}


def attack(eps=0.3, steps=3):
    return PGD(Linf(eps), steps=steps, bounds=None)


def test_two_objectives_per_task():
    model, data = network(), batch()
    problem = Adversarial(model, LOSSES, attack())
    losses = problem.losses(data)
    assert list(losses) == list(problem.tasks) == [*TASKS, *(f"{t} (robust)" for t in TASKS)]
    clean = moml.MultiTask(model, LOSSES).losses(data)
    for task in TASKS:
        torch.testing.assert_close(losses[task], clean[task])
    assert sum(losses[f"{t} (robust)"] for t in TASKS) > sum(losses[t] for t in TASKS)


def test_without_clean_objectives_it_is_the_tasks():
    problem = Adversarial(network(), LOSSES, attack(), clean=False)
    assert tuple(problem.losses(batch())) == problem.tasks == TASKS


@pytest.mark.parametrize("oracle", [Direct, Representation])
@pytest.mark.parametrize("multi_input", [False, True])
@pytest.mark.parametrize("make", [EW, MGDA, UPGrad])
def test_any_weighting_and_oracle_train_it(make, oracle, multi_input):
    model = network()
    problem = Adversarial(model, LOSSES, attack())
    history = moml.fit(
        problem,
        oracle(),
        make(),
        torch.optim.Adam(model.parameters(), 0.02),
        [batch(multi_input=multi_input)],
        steps=15,
    )
    assert sum(history.losses(t)[-1] for t in problem.tasks) < sum(
        history.losses(t)[0] for t in problem.tasks
    )


def test_partly_labelled():
    data = batch()
    mask = torch.arange(12) < 4
    partly = Batch(data.inputs, data.targets, {"b": mask})
    losses = Adversarial(network(), LOSSES, attack()).losses(partly)
    assert all(torch.isfinite(loss) for loss in losses.values())
    none = Batch(data.inputs, data.targets, {"b": torch.zeros(12, dtype=torch.bool)})
    assert "b" not in TRADES(network(), LOSSES, attack()).losses(none)


def test_making_the_twin_moves_no_statistic_and_no_mode():
    encoder = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8))
    model = moml.architecture.HPS(encoder, {"a": nn.Linear(8, 3)}).double()
    problem = Adversarial(model, {"a": CrossEntropy(3)}, attack(steps=5), clean=False)
    problem.losses(batch(("a",)))
    assert encoder[1].num_batches_tracked == 1
    assert model.training
    problem = AWP(problem)
    problem.losses(batch(("a",)))
    assert encoder[1].num_batches_tracked == 2


def test_trades_is_clean_loss_plus_divergence():
    model, data = network(), batch()
    zero = TRADES(model, LOSSES, attack(eps=0.0)).losses(data)
    clean = moml.MultiTask(model, LOSSES).losses(data)
    for task in TASKS:
        torch.testing.assert_close(zero[task], clean[task])
    for beta, larger in ((0.0, False), (6.0, True)):
        losses = TRADES(model, LOSSES, attack(), beta=beta).losses(data)
        assert bool(sum(losses.values()) > sum(clean.values()) + 1e-6) is larger


def test_class_distance_is_the_divergence():
    p, q = torch.tensor([[0.7, 0.3]]), torch.tensor([[0.4, 0.6]])
    expected = (p * (p / q).log()).sum()
    torch.testing.assert_close(class_distance(q.log(), p.log()), expected[None])


def test_regression_has_a_trades_too():
    model = moml.architecture.HPS(
        nn.Linear(6, 4).double(), {"a": nn.Sequential(nn.Linear(4, 1), nn.Flatten(0)).double()}
    )
    data = Batch(batch().inputs, {"a": torch.randn(12, dtype=torch.float64)})
    problem = TRADES(model, {"a": MeanSquaredError()}, attack())
    clean = moml.MultiTask(model, {"a": MeanSquaredError()}).losses(data)["a"]
    assert problem.losses(data)["a"] > clean


def test_awp_evaluates_at_worse_weights_and_leaves_them():
    model, data = network(), batch()
    plain = moml.MultiTask(model, LOSSES)
    order = [name for name, _ in model.named_parameters()]
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    moved = AWP(plain, gamma=0.05).losses(data)
    assert sum(moved.values()) > sum(plain.losses(data).values())
    assert [name for name, _ in model.named_parameters()] == order
    assert all(torch.equal(p, before[name]) for name, p in model.named_parameters())
    still = AWP(plain, gamma=0.0).losses(data)
    for task in TASKS:
        torch.testing.assert_close(still[task], plain.losses(data)[task])


@pytest.mark.supported
@pytest.mark.parametrize("reentrant", [False, True, None])
def test_awp_on_a_network_with_checkpointed_or_doubly_named_layers(reentrant):
    def gradients(wrapped):
        model, data = network(), batch()
        inner = model.encoder
        if wrapped and reentrant is None:
            model.again = inner
        elif wrapped:
            plain = inner.forward
            inner.forward = lambda x: checkpoint(plain, x, use_reentrant=reentrant)
        inputs = data.inputs.requires_grad_()
        losses = AWP(moml.MultiTask(model, LOSSES), gamma=0.05).losses(Batch(inputs, data.targets))
        sum(losses.values()).backward()
        return [p.grad for p in model.parameters()]

    for found, expected in zip(gradients(True), gradients(False), strict=True):
        torch.testing.assert_close(found, expected)


def test_awp_gradient_is_that_at_the_perturbed_weights():
    """One weight, loss w^4: at w + gamma |w| sign(g) the derivative is 4 (w + gamma w)^3."""

    class Quartic(moml.Problem):
        tasks = ("a",)
        module = None

        def __init__(self):
            self.module = nn.Linear(1, 1, bias=False).double()
            nn.init.constant_(self.module.weight, 2.0)

        def losses(self, data):
            return {"a": self.module(torch.ones(1, 1, dtype=torch.float64)).pow(4).sum()}

        def shared_parameters(self):
            return self.module.parameters()

        def private_parameters(self, task):
            return []

    inside = Quartic()
    AWP(inside, gamma=0.1).losses(None)["a"].backward()
    assert inside.module.weight.grad.item() == pytest.approx(4 * 2.2**3)


@pytest.mark.parametrize("make", [lambda p: p, AWP])
def test_regulariser_and_schedules_of_the_network_stay(make):
    encoder = nn.Sequential(nn.Linear(6, 4), nn.ReLU(), nn.Linear(4, 4))
    encoder.example_input = torch.zeros(1, 6)
    heads = {task: nn.Linear(4, 3) for task in TASKS}
    gated, branching = (kind(encoder, heads, stages=2).double() for kind in (DSelectK, LTB))
    problem = make(Adversarial(gated, LOSSES, attack()))
    problem.losses(batch())
    assert problem.penalty() is not None
    torch.testing.assert_close(problem.penalty(), gated.penalty())
    before = float(branching.temperature)
    make(Adversarial(branching, LOSSES, attack())).after_step(5, 10)
    assert float(branching.temperature) < before


def digits():
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    x = torch.tensor(images / 16, dtype=torch.float32).reshape(-1, 1, 8, 8)
    return x, torch.tensor(labels)


@pytest.mark.slow
@pytest.mark.parametrize("make", [Adversarial, TRADES])
def test_robust_training_makes_digits_robust(make):
    """Against PGD, on real digits, at equal steps: the robustly trained network wins clearly."""
    from moml.attack import Victim, cross_entropy, misclassified
    from moml.backbone import SmallCNN

    x, y = digits()
    losses, robust = {"digit": CrossEntropy(10)}, {}
    for name in ("plain", "robust"):
        torch.manual_seed(0)
        encoder = SmallCNN((8, 8))
        model = moml.architecture.HPS(encoder, {"digit": nn.Linear(encoder.out_features, 10)})
        problem = (
            moml.MultiTask(model, losses)
            if name == "plain"
            else make(model, losses, PGD(Linf(0.15), steps=3, seed=1))
        )
        moml.fit(
            problem,
            Direct(),
            EW(),
            torch.optim.Adam(model.parameters(), 3e-3),
            Loader(moml.data.TensorSource(x[:1200], {"digit": y[:1200]}), 64, shuffle=True),
            steps=100,
        )
        goal = Victim(model).objective(
            {"digit": y[1200:]}, loss={"digit": cross_entropy}, success={"digit": misclassified}
        )
        fooled = goal.reached(PGD(Linf(0.15), steps=10).perturb(goal, x[1200:]))
        robust[name] = 1 - fooled.float().mean().item()
    assert robust["robust"] > robust["plain"] + 0.15


@pytest.mark.parametrize("make", [lambda m: TRADES(m, LOSSES, attack(), beta=-1.0), lambda m: AWP(m, gamma=-1.0)])  # fmt: skip # noqa: E501
def test_bad_numbers(make):
    with pytest.raises(ValueError, match=r"should not be negative, found -1\.0"):
        make(network())
