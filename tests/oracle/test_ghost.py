"""Gramian and direction without the rows equal those of formed rows."""

import pytest
import torch
from torch import nn

import moml
from moml.architecture import HPS
from moml.backbone import MLP, ResNet8, SmallCNN
from moml.data import Batch
from moml.gradients.ghost import GhostRows
from moml.losses import CrossEntropy
from moml.oracle import Direct
from moml.weighting import MGDA
from tests.helpers import TASKS, batch, flat_grad, network, problem

WEIGHTS = torch.tensor([0.2, 0.0, 1.7], dtype=torch.float64)


class Sequence(nn.Module):
    """Linear layers on ``(B, T, d)``, one of them used twice, one without a bias."""

    out_features = 6

    def __init__(self):
        super().__init__()
        self.first, self.twice = nn.Linear(6, 6, bias=False), nn.Linear(6, 6)
        self.scale = nn.Parameter(torch.ones(6))

    def forward(self, x):
        x = torch.tanh(self.first(x.unflatten(1, (-1, 6)) if x.dim() == 2 else x))
        return (self.twice(torch.tanh(self.twice(x))) * self.scale).mean(1)


def images(size=5, channels=1, side=8):
    x = torch.randn(size, channels, side, side, dtype=torch.float64)
    return Batch(x, {t: torch.randint(3, (size,)) for t in TASKS})


ENCODERS = {
    "mlp": (lambda: MLP(6, hidden=(8, 7)), batch),
    "without bias": (
        lambda: nn.Sequential(nn.Linear(6, 9, bias=False), nn.Tanh(), nn.Linear(9, 6)),
        batch,
    ),
    "sequence": (Sequence, batch),
    "small cnn": (lambda: SmallCNN((8, 8)), images),
    "resnet8": (lambda: ResNet8(in_channels=1), images),
}


def model_of(encoder):
    torch.manual_seed(0)
    built = encoder()
    width = getattr(built, "out_features", 6)
    return HPS(built, {t: nn.Linear(width, 3) for t in TASKS}).double()


@pytest.mark.parametrize("name", ENCODERS)
def test_everything_equals_formed_rows(name):
    encoder, data = ENCODERS[name]
    model = model_of(encoder)
    data = data()
    formed = Direct(rows="loop")(problem(model), data)
    ghost = Direct(rows="ghost")(problem(model), data)
    assert isinstance(ghost.former, GhostRows)
    torch.testing.assert_close(ghost.gramian, formed.gramian, rtol=1e-10, atol=1e-14)
    torch.testing.assert_close(ghost.pullback(WEIGHTS), formed.pullback(WEIGHTS))
    ghost.apply(WEIGHTS)
    found = flat_grad(model.parameters())
    model.zero_grad()
    formed.apply(WEIGHTS)
    torch.testing.assert_close(found, flat_grad(model.parameters()))
    torch.testing.assert_close(ghost.jacobian, formed.jacobian)
    torch.testing.assert_close(ghost.pullback(WEIGHTS), formed.pullback(WEIGHTS))


def test_layers_are_found_where_their_weights_are_used_once():
    ghost = Direct(rows="ghost")(problem(model_of(Sequence)), batch())
    leaves, _, others = ghost.former._parts
    assert len(leaves) == 1  # not the layer that is used twice
    assert sum(g is not None for g in others[0]) == 3  # its weight and bias, and the scale


def test_an_encoder_called_once_per_task_has_its_rows_formed():
    data = batch(multi_input=True)
    ghost, formed = (Direct(rows=r)(problem(network()), data) for r in ("ghost", "loop"))
    torch.testing.assert_close(ghost.gramian, formed.gramian)
    assert Direct()(problem(network()), data).layout.plan.way == "rows"


@pytest.mark.parametrize(("size", "width", "expected"), [(16, 256, "ghost"), (256, 16, "rows")])
def test_the_way_follows_from_counting(size, width, expected):
    torch.manual_seed(0)
    model = HPS(MLP(64, hidden=(width, width)), {t: nn.Linear(width, 3) for t in TASKS})
    x = torch.randn(size, 64)
    data = Batch(x, {t: torch.randint(3, (size,)) for t in TASKS})
    oracle = Direct()
    assert oracle(problem(model), data).layout.plan.way == expected
    other = Batch(torch.randn(272 - size, 64), {t: torch.randint(3, (272 - size,)) for t in TASKS})
    _ = oracle(problem(model), other)  # a step of another size does not decide
    assert oracle(problem(model), data).layout.plan.way == expected


def test_float32_is_left_where_gradients_nearly_depend_on_each_other():
    torch.manual_seed(0)
    model = HPS(MLP(32, hidden=(64, 64)), {t: nn.Linear(64, 2) for t in ("a", "b")})
    x, y = torch.randn(16, 32), torch.randint(2, (16,))
    model.heads["b"].load_state_dict(model.heads["a"].state_dict())
    task = moml.MultiTask(model, {t: CrossEntropy(2) for t in ("a", "b")})
    rows = Direct(rows="loop")(task, Batch(x, {"a": y, "b": 1 - y}))
    ghost = Direct(rows="ghost")(task, Batch(x, {"a": y, "b": 1 - y}))
    torch.testing.assert_close(ghost.gramian, rows.gramian, rtol=1e-5, atol=0)
    weights = MGDA().weights(ghost.gramian)
    torch.testing.assert_close(weights, MGDA().weights(rows.gramian), rtol=1e-4, atol=1e-6)


def test_a_task_that_does_not_reach_the_encoder_has_a_row_of_zeros():
    model = network()
    for parameter in model.heads["b"].parameters():
        parameter.data.zero_()  # its gradient on the features is zero
    ghost, formed = (Direct(rows=r)(problem(model), batch()) for r in ("ghost", "loop"))
    torch.testing.assert_close(ghost.gramian, formed.gramian)
    assert float(ghost.gramian[1].abs().sum()) == 0.0


@pytest.mark.parametrize("name", ENCODERS)
def test_products_of_two_batches_equal_those_of_formed_rows(name):
    encoder, data = ENCODERS[name]
    model = model_of(encoder)
    first, second = data(), data(size=4)
    formed, ghost = (
        [Direct(rows=rows)(problem(model), part) for part in (first, second)]
        for rows in ("loop", "ghost")
    )
    expected = formed[0].jacobian @ formed[1].jacobian.T
    torch.testing.assert_close(ghost[0].cross(ghost[1]), expected, rtol=1e-10, atol=1e-14)
    torch.testing.assert_close(ghost[0].cross(formed[1]), expected, rtol=1e-10, atol=1e-14)
