"""``moml.backward`` in a loop of one's own."""

import pytest
import torch
from torch import nn

import moml
from moml.weighting import DWA, EW, MGDA, UW, UPGrad
from tests.helpers import TASKS, batch, flat_grad, flat_gradients, network, problem
from tests.weightings import all_weightings


def losses_of(model, data):
    return problem(model).losses(data)


def test_equal_weighting_is_the_sum():
    model, data = network(), batch()
    weights = moml.backward(losses_of(model, data), EW())
    assert weights.tolist() == [1.0, 1.0, 1.0]
    found = flat_grad(list(model.parameters()))
    model.zero_grad()
    sum(losses_of(model, data).values()).backward()
    torch.testing.assert_close(found, flat_grad(list(model.parameters())))


@pytest.mark.parametrize("with_features", [False, True])
def test_shared_parameters_are_found_and_features_change_nothing(with_features):
    model, data = network(), batch()
    shared = model.shared_parameters()
    losses = losses_of(model, data)
    jacobian = torch.stack([flat_gradients(loss, shared) for loss in losses.values()])
    features = model.features(data.inputs)["shared"]
    predictions = model.decode({"shared": features})
    losses = {t: nn.functional.cross_entropy(predictions[t], data.targets[t]) for t in TASKS}
    weights = moml.backward(losses, MGDA(), features=features if with_features else None)
    torch.testing.assert_close(weights, MGDA().weights(jacobian @ jacobian.T), atol=1e-9, rtol=0)
    torch.testing.assert_close(flat_grad(shared), weights @ jacobian)


def test_representation_weights():
    model, data = network(), batch()
    z = model.features(data.inputs)["shared"]
    losses = [nn.functional.cross_entropy(model.heads[t](z), data.targets[t]) for t in TASKS]
    rows = torch.stack([torch.autograd.grad(x, z, retain_graph=True)[0].flatten() for x in losses])
    weights = moml.backward(losses, MGDA(), features=z, representation=True)
    torch.testing.assert_close(weights, MGDA().weights(rows @ rows.T), atol=1e-9, rtol=0)


def test_a_path_around_the_features_is_not_counted_twice():
    x = torch.randn(4, 3, dtype=torch.float64)
    encoder = nn.Linear(3, 3).double()
    z = torch.tanh(encoder(x))
    around = encoder.weight.square().mean()
    losses = [z.square().mean() + around, (z - 1).abs().mean()]
    expected = torch.stack([flat_gradients(loss, list(encoder.parameters())) for loss in losses])
    with pytest.raises(ValueError, match="a path around"):
        moml.backward(losses, MGDA(), features=z, representation=True)
    weights = moml.backward(losses, MGDA(), features=z)
    torch.testing.assert_close(flat_grad(list(encoder.parameters())), weights @ expected)


def test_one_loss_is_ordinary_backward():
    for weighting in (EW(), MGDA(), UPGrad()):
        model, data = network(("a",)), batch(("a",))
        weights = moml.backward(losses_of(model, data), weighting)
        torch.testing.assert_close(weights, torch.ones(1, dtype=torch.float64))
        found = flat_grad(list(model.parameters()))
        model.zero_grad()
        losses_of(model, data)["a"].backward()
        torch.testing.assert_close(found, flat_grad(list(model.parameters())))


def test_learnable_weights_get_their_gradient():
    model, data, weighting = network(), batch(), UW().setup(TASKS)
    moml.backward(losses_of(model, data), weighting)
    values = torch.stack([loss.detach() for loss in losses_of(model, data).values()]).double()
    (parameter,) = weighting.parameters()
    by_hand = parameter.detach().clone().double().requires_grad_()
    (values / (2 * by_hand.exp()) + by_hand / 2).sum().backward()
    torch.testing.assert_close(parameter.grad.double(), by_hand.grad)


LEARNABLE = {
    n: make for n, make in all_weightings().items() if list(make().setup(TASKS).parameters())
}


@pytest.mark.supported
@pytest.mark.parametrize("name", LEARNABLE)
def test_learnt_weights_set_up_before_the_optimizer_learn(name):
    model, data, weighting = network(), batch(), LEARNABLE[name]().setup(TASKS)
    before = [p.detach().clone() for p in weighting.parameters()]
    optimizer = torch.optim.SGD([*model.parameters(), *weighting.parameters()], lr=0.1)
    for _ in range(3):
        optimizer.zero_grad()
        moml.backward(losses_of(model, data), weighting, epoch=0)
        optimizer.step()
    assert all((p != old).any() for p, old in zip(weighting.parameters(), before, strict=True))


@pytest.mark.refused("no optimizer can have seen the parameters: call `setup` first")
@pytest.mark.parametrize("name", LEARNABLE)
def test_learnt_weights_without_setup_before_the_optimizer(name):
    model, data, weighting = network(), batch(), LEARNABLE[name]()
    for _ in range(2):  # trying again does not help
        with pytest.raises(ValueError, match=r"`weighting.setup\(\['a', 'b', 'c'\]\)` first"):
            moml.backward(losses_of(model, data), weighting)
    assert all(p.grad is None for p in model.parameters())


def test_history_counts_calls():
    """DWA in a loop of one's own: its window counts calls."""
    model, data, weighting = network(), batch(), DWA(window=2)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    seen = []
    for _ in range(8):
        optimizer.zero_grad()
        seen.append(moml.backward(losses_of(model, data), weighting).tolist())
        optimizer.step()
    assert seen[:4] == [[1.0] * 3] * 4
    assert seen[5] != [1.0] * 3
    assert sum(seen[5]) == pytest.approx(3)


@pytest.mark.parametrize(
    ("losses", "message"),
    [
        ([torch.zeros(2, requires_grad=True)], r"shape \(2,\)"),
        ([torch.tensor(1.0)], "requires_grad=False"),
        ([torch.tensor(float("nan"), requires_grad=True)], "found nan for task '0'"),
        ({"depth": torch.tensor(float("inf"), requires_grad=True)}, "found inf for task 'depth'"),
        ([], "the loss of at least one task, found none"),
    ],
)
def test_bad_losses(losses, message):
    with pytest.raises(ValueError, match=message):
        moml.backward(losses, EW())


def test_another_set_of_tasks_is_an_error():
    x = torch.ones(1, requires_grad=True)
    weighting = EW()
    moml.backward({"a": x.sum()}, weighting)
    with pytest.raises(ValueError, match=r"found \['b'\]"):
        moml.backward({"b": x.sum()}, weighting)


@pytest.mark.supported
def test_shared_parameters_named_by_the_user_alone_are_traded_off():
    """The others get the gradient of the weighted sum, and have no say in the weights."""
    model, data = network(), batch()
    first = model.encoder[0].weight
    losses = losses_of(model, data)
    rows = torch.stack([flat_gradients(loss, [first]) for loss in losses.values()])
    everything = list(model.parameters())
    whole = torch.stack([flat_gradients(loss, everything) for loss in losses.values()])
    weights = moml.backward(losses, MGDA(), shared=[first])
    torch.testing.assert_close(weights, MGDA().weights(rows @ rows.T), atol=1e-9, rtol=0)
    torch.testing.assert_close(flat_grad(everything), weights @ whole)
