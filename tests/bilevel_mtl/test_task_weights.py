"""Learnt task weights: closed forms, the released scheme, and what must not be disturbed."""

import copy
from functools import partial

import pytest
import torch
from torch import nn
from torch.func import functional_call
from torch.utils.checkpoint import checkpoint

from moml import MultiTask, fit
from moml.architecture import HPS, LTB, DSelectK
from moml.bilevel import (
    Along,
    Alternate,
    Bilevel,
    ConstrainedMGDA,
    FiniteDifference,
    InnerAdam,
    InnerSGD,
    Unrolled,
    ValueFunction,
)
from moml.bilevel_mtl import FreeWeights, OneStepGramian, SoftmaxWeights, TaskWeights
from moml.data import Batch, BilevelBatch
from moml.errors import NonFiniteError
from moml.losses import CrossEntropy
from moml.weighting import EW, MGDA, GradientNormalization
from tests.helpers import TASKS, batch, flat_grad, network, problem


def levels(seed=0, **options):
    return BilevelBatch(
        (batch(seed=10 * seed + 1, **options),), batch(seed=10 * seed + 2, **options)
    )


def with_norm(dtype=torch.float64):
    torch.manual_seed(0)
    encoder = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.Tanh())
    encoder.out_features = 8
    return HPS(encoder, {task: nn.Linear(8, 3) for task in TASKS}).to(dtype)


def gated(kind=DSelectK, **options):
    torch.manual_seed(0)
    encoder = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 8))
    encoder.example_input = torch.zeros(1, 6)
    heads = {task: nn.Linear(8, 3) for task in TASKS}
    return kind(encoder, heads, stages=2, **options).double()


def hypergradients(hypergradient, form, model, data, *, decay=0.0):
    levels_ = TaskWeights(problem(model), form=form)
    levels_.module.omega.data += torch.tensor([0.3, -0.2, 0.05], dtype=torch.float64)
    inner = InnerSGD(0.5, steps=1, weight_decay=decay)
    evaluation = Bilevel(inner, hypergradient)(levels_, data)
    return evaluation.jacobian, evaluation.losses


@pytest.mark.parametrize("form", [SoftmaxWeights(), FreeWeights(0.5)], ids=["softmax", "free"])
@pytest.mark.parametrize("make", [network, with_norm, gated])
@pytest.mark.parametrize("multi_input", [False, True])
@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_the_closed_form_is_the_unrolled_derivative(form, make, multi_input, decay):
    data = levels(multi_input=multi_input)
    closed, losses = hypergradients(OneStepGramian(), form, make(), data, decay=decay)
    exact, same = hypergradients(Unrolled(), form, make(), data, decay=decay)
    assert exact.abs().max() > 1e-4
    torch.testing.assert_close(closed, exact, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(losses, same, rtol=1e-12, atol=1e-12)


def test_the_closed_form_with_missing_labels():
    full, upper = batch(seed=1), batch(seed=2)
    lower = Batch(full.inputs, {t: full.targets[t] for t in ("a", "c")})
    upper = Batch(upper.inputs, upper.targets, {"b": torch.arange(12) < 5})
    data = BilevelBatch((lower,), upper)
    closed, _ = hypergradients(OneStepGramian(), SoftmaxWeights(), network(), data)
    exact, _ = hypergradients(Unrolled(), SoftmaxWeights(), network(), data)
    torch.testing.assert_close(closed, exact, rtol=1e-12, atol=1e-12)
    assert closed.shape == (3, 3)
    absent = Batch(upper.inputs, {"b": upper.targets["b"]})
    closed, losses = hypergradients(
        OneStepGramian(), SoftmaxWeights(), network(), BilevelBatch((lower,), absent)
    )
    assert closed.shape == (1, 3)
    assert len(losses) == 1


def test_finite_differences_come_near():
    exact, _ = hypergradients(Unrolled(), FreeWeights(0.5), network(), levels())
    near, _ = hypergradients(FiniteDifference(1e-3), FreeWeights(0.5), network(), levels())
    torch.testing.assert_close(near, exact, rtol=1e-5, atol=1e-7)


# All three rows lie in the plane of logits that sum to zero: their hull often contains the origin,
# and a direction that is rounding only makes Adam take steps of its own. Two rows seldom do.
JUDGED = ("a", "b")


def reference(model, data, *, steps, inner_rate, upper_rate, rate):
    """The released scheme as a plain loop: virtual step, MGDA by norms, Adam, real step."""
    ce = nn.functional.cross_entropy
    omega = torch.full((3,), 1 / 3, dtype=torch.float64, requires_grad=True)
    upper = torch.optim.Adam([omega], upper_rate)
    lower = torch.optim.Adam(model.parameters(), rate)
    parameters = dict(model.named_parameters())
    for step in range(steps):
        train, val = data[step % len(data)].lower[0], data[step % len(data)].upper
        out = model(train.inputs)
        loss = (omega.softmax(0) * torch.stack([ce(out[t], train.targets[t]) for t in TASKS])).sum()
        grads = torch.autograd.grad(loss, list(parameters.values()), create_graph=True)
        virtual = {
            n: p - inner_rate * g for (n, p), g in zip(parameters.items(), grads, strict=True)
        }
        out = functional_call(model, virtual, (val.inputs,))
        rows = torch.stack(
            [
                torch.autograd.grad(ce(out[t], val.targets[t]), omega, retain_graph=True)[0]
                for t in JUDGED
            ]
        )
        rows = rows / rows.norm(dim=1, keepdim=True)
        omega.grad = MGDA().weights(rows @ rows.T) @ rows
        upper.step()
        out = model(train.inputs)
        loss = (omega.detach().softmax(0) * torch.stack(
            [ce(out[t], train.targets[t]) for t in TASKS])).sum()  # fmt: skip
        lower.zero_grad()
        loss.backward()
        lower.step()
    return omega.detach()


@pytest.mark.parametrize("hypergradient", [OneStepGramian, Unrolled])
def test_the_released_scheme_as_a_plain_loop(hypergradient):
    data = [levels(seed) for seed in range(3)]
    plain, mine = network(), network()
    omega = reference(plain, data, steps=25, inner_rate=0.1, upper_rate=1e-2, rate=1e-2)
    levels_ = TaskWeights(problem(mine), objectives=JUDGED)
    oracle = Bilevel(
        InnerSGD(0.1), hypergradient(), alternate=Alternate(lambda p: torch.optim.Adam(p, 1e-2))
    )
    fit(
        levels_, oracle, GradientNormalization(MGDA(), by="l2"),
        torch.optim.Adam([levels_.module.omega], 1e-2), data, steps=25,
    )  # fmt: skip
    assert (omega - 1 / 3).abs().max() > 0.05
    torch.testing.assert_close(levels_.module.omega.detach(), omega, rtol=0, atol=1e-12)
    for a, b in zip(mine.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-12)


# What must not be disturbed -------------------------------------------------------------------


@pytest.mark.parametrize("hypergradient", [OneStepGramian(), Unrolled(), FiniteDifference()])
def test_running_statistics_move_once_per_real_step(hypergradient):
    model, plain = with_norm(), with_norm()
    data = levels()
    levels_ = TaskWeights(problem(model))
    oracle = Bilevel(
        InnerSGD(0.1), hypergradient, alternate=Alternate(lambda p: torch.optim.SGD(p, 0.1))
    )
    before = copy.deepcopy(model.state_dict())
    evaluation = oracle(levels_, data)
    evaluation.apply(MGDA().weights(evaluation.gramian))
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    oracle.advance(levels_)
    plain(data.lower[0].inputs)
    norm, expected = model.encoder[1], plain.encoder[1]
    assert int(norm.num_batches_tracked) == 1
    assert torch.equal(norm.running_mean, expected.running_mean)
    assert torch.equal(norm.running_var, expected.running_var)


def test_running_statistics_under_the_value_function():
    model, plain = with_norm(), with_norm()
    data = levels()
    levels_ = TaskWeights(problem(model))
    oracle = Bilevel(
        InnerSGD(0.1, steps=3), ValueFunction(),
        alternate=Along(lambda p: torch.optim.SGD(p, 0.1)),
    )  # fmt: skip
    weighting = ConstrainedMGDA()
    weighting.setup(levels_.tasks)
    weighting.update(oracle(levels_, data))
    oracle.advance(levels_)
    plain(data.lower[0].inputs)
    assert int(model.encoder[1].num_batches_tracked) == 1
    assert torch.equal(model.encoder[1].running_mean, plain.encoder[1].running_mean)


def test_frozen_parameters_stay_and_the_rest_is_committed():
    model = network()
    model.encoder[0].requires_grad_(False)
    before = {n: p.detach().clone() for n, p in model.named_parameters()}
    levels_ = TaskWeights(problem(model))
    oracle = Bilevel(
        InnerSGD(0.1), OneStepGramian(), alternate=Alternate(lambda p: torch.optim.SGD(p, 0.1))
    )
    fit(levels_, oracle, EW(), torch.optim.SGD([levels_.module.omega], 0.1), [levels()], steps=2)
    for name, p in model.named_parameters():
        assert torch.equal(p, before[name]) == name.startswith("encoder.0."), name
    kept = oracle.carry.previous()
    assert all(torch.equal(v, dict(model.named_parameters())[k]) for k, v in kept.items())


def test_only_the_weights_are_trainable_and_they_are_charted():
    levels_ = TaskWeights(problem(network()), objectives=["c", "a"])
    assert [n for n, _ in levels_.trainable()] == ["task_weights"]
    assert levels_.tasks == ("a", "c")
    assert levels_.curves() == {
        "Learnt task weights": pytest.approx({"a": 1 / 3, "b": 1 / 3, "c": 1 / 3})
    }
    evaluation = Bilevel(InnerSGD(0.1), OneStepGramian())(levels_, levels())
    assert evaluation.names == ("a", "c")
    assert evaluation.jacobian.shape == (2, 3)


def test_regulariser_of_the_network_is_part_of_the_lower_level():
    plain, regularised = (TaskWeights(problem(gated(entropy=e))) for e in (0.0, 0.5))
    data, omega = batch(), dict(plain.upper_parameters())
    theta = {n: p.detach().clone().requires_grad_() for n, p in gated().named_parameters()}
    network = regularised.problem.architecture
    for loss in (TaskWeights.lower_loss, TaskWeights.training_loss):
        with_it, without = loss(regularised, theta, omega, data), loss(plain, theta, omega, data)
        network.features(data.inputs)
        network(data.inputs)
        torch.testing.assert_close(with_it - without, network.penalty())
        gradients = torch.autograd.grad(with_it - without, list(theta.values()), allow_unused=True)
        reached = {n for n, g in zip(theta, gradients, strict=True) if g is not None and g.any()}
        assert reached and all(name.startswith("gates.") for name in reached)


def test_schedules_of_the_network_go_on():
    model = gated(LTB)
    levels_ = TaskWeights(problem(model))
    oracle = Bilevel(InnerSGD(0.1, steps=1), Unrolled(), warm_start=True)
    before, optimizer = float(model.temperature), torch.optim.Adam([levels_.module.omega])
    fit(levels_, oracle, EW(), optimizer, [levels()], steps=3)
    assert float(model.temperature) < before


def test_a_free_weight_below_zero_counts_as_zero_and_can_come_back():
    form = FreeWeights(0.1)
    omega = torch.tensor([0.2, -0.3], requires_grad=True)
    weights = form.weights(omega)
    assert weights.tolist() == pytest.approx([0.2, 0.0])
    weights.sum().backward()
    assert omega.grad.tolist() == [1.0, 1.0]


# Bad input ------------------------------------------------------------------------------------


def spoilt(data):
    inputs = data.inputs.clone()
    inputs[0] = float("nan")
    return Batch(inputs, data.targets)


def one_task_spoilt(data):
    draw = batch(multi_input=True, seed=5)
    draw.inputs["b"][0] = float("nan")
    return draw


def test_nan_names_task_and_step():
    good = levels(multi_input=True)
    bad_lower = BilevelBatch((one_task_spoilt(None),), good.upper)
    bad_upper = BilevelBatch(good.lower, one_task_spoilt(None))
    bad_real = BilevelBatch((good.lower[0], one_task_spoilt(None)), good.upper)
    for data, first in ((bad_lower, 0), (bad_upper, 0), (bad_real, 1)):
        levels_ = TaskWeights(problem(network()))
        real = Alternate(lambda p: torch.optim.SGD(p, 0.1), first=first)
        oracle = Bilevel(InnerSGD(0.1), OneStepGramian(), alternate=real)
        with pytest.raises(NonFiniteError, match=r"Step 2: The .*loss of task 'b' should be"):
            fit(
                levels_, oracle, EW(), torch.optim.SGD([levels_.module.omega], 0.1),
                [good, data], steps=2,
            )  # fmt: skip


def test_what_does_not_fit_is_said():
    levels_ = TaskWeights(problem(network()))
    with pytest.raises(ValueError, match="`objectives` should be among"):
        TaskWeights(problem(network()), objectives=["d"])
    with pytest.raises(ValueError, match="one step of InnerSGD"):
        Bilevel(InnerSGD(0.1, steps=2), OneStepGramian())(levels_, levels())
    with pytest.raises(ValueError, match="found InnerAdam with 1 steps"):
        Bilevel(InnerAdam(0.1), OneStepGramian())(levels_, levels())
    nothing = Batch(batch().inputs, {})
    with pytest.raises(ValueError, match="a label of at least one task"):
        Bilevel(InnerSGD(0.1), OneStepGramian())(levels_, BilevelBatch((nothing,), batch()))
    with pytest.raises(ValueError, match="`start` should be positive"):
        FreeWeights(0.0)


def test_gradients_reach_the_weights_only():
    model = network()
    levels_ = TaskWeights(problem(model))
    evaluation = Bilevel(InnerSGD(0.1), OneStepGramian())(levels_, levels())
    evaluation.apply(torch.ones(3))
    assert flat_grad([levels_.module.omega]).abs().max() > 0
    assert all(p.grad is None for p in model.parameters())


def test_multitask_evaluates_its_losses_with_other_weights():
    model, data = network(), batch()
    one = MultiTask(model, {t: CrossEntropy(3) for t in TASKS})
    state = {name: 2 * p.detach() for name, p in model.named_parameters()}
    found = one.losses_at(state, data, ["b"])
    kept = one.losses(data)["b"]
    model.load_state_dict(state)
    assert found.keys() == {"b"}
    assert found["b"] == one.losses(data)["b"] != kept


class Twice(nn.Module):
    """A layer that is used twice, recomputed in the backward pass or not."""

    out_features = 6

    def __init__(self, recompute):
        super().__init__()
        self.first = nn.Linear(6, 6)
        self.second, self.recompute = self.first, recompute

    def body(self, x):
        return self.second(self.first(x).tanh())

    def forward(self, x):
        return checkpoint(self.body, x, use_reentrant=False) if self.recompute else self.body(x)


@pytest.mark.supported
def test_learnt_task_weights_with_checkpointed_layers_that_are_used_twice():
    rows = []
    for recompute in (False, True):
        torch.manual_seed(0)
        model = HPS(Twice(recompute), {t: nn.Linear(6, 3) for t in TASKS}).double()
        problem_ = TaskWeights(problem(model))
        rows.append(Bilevel(InnerSGD(0.5, steps=3), Unrolled())(problem_, levels()).jacobian)
        assert model.encoder.second is model.encoder.first
        assert all(p.is_leaf for p in model.parameters())
        assert isinstance(model.encoder.first.weight, nn.Parameter)
    torch.testing.assert_close(*rows, rtol=1e-12, atol=1e-14)
    assert rows[0].abs().max() > 1e-4


@pytest.mark.supported
@pytest.mark.parametrize("carry", ["warm start", "along", "alternate"])
def test_learnt_task_weights_of_an_encoder_that_is_frozen_and_unfrozen(carry):
    model = network()
    make = partial(torch.optim.SGD, lr=0.1, momentum=0.9)
    kept = {"along": Along(make), "alternate": Alternate(make)}.get(carry)
    method = ValueFunction() if carry == "along" else Unrolled()
    oracle = Bilevel(InnerSGD(0.1), method, warm_start=carry == "warm start", alternate=kept)
    levels_ = TaskWeights(problem(model))
    body, head = model.encoder, model.heads["a"]
    for trainable in (True, False, True):
        body.requires_grad_(trainable)
        before = copy.deepcopy(model.state_dict())
        for _ in range(2):
            oracle(levels_, levels()).apply(torch.ones(3))
            oracle.advance(levels_)
        changed = {n for n, t in model.state_dict().items() if not torch.equal(t, before[n])}
        assert any(n.startswith("heads.a") for n in changed)
        assert any(n.startswith("encoder") for n in changed) == trainable
    state = oracle.state_dict()
    oracle.load_state_dict(state)
    assert head.weight.requires_grad
