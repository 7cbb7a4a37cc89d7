"""Dataclasses and named tuples: their fields' names count, not their places."""

from collections import namedtuple
from dataclasses import dataclass, make_dataclass
from typing import NamedTuple

import pytest
import torch
from torch import Tensor, nn

import moml
from moml.bilevel import Bilevel, InnerSGD, Unrolled
from moml.data import Batch, EpisodeBatch, as_batch
from moml.few_shot import FewShot
from moml.oracle import Direct
from moml.weighting import EW, Constant

TASKS = ("a", "b")


class Outputs(NamedTuple):
    """In another order than the losses."""

    b: Tensor
    a: Tensor
    hidden: Tensor


@dataclass
class Container:
    """The same as a dataclass."""

    b: Tensor
    a: Tensor
    loss: Tensor | None = None


class Net(nn.Module):
    """Two predictions of one shape, which could be mistaken for one another."""

    def __init__(self, pack):
        super().__init__()
        torch.manual_seed(0)
        self.pack, self.body = pack, nn.Linear(4, 8)
        self.a, self.b = nn.Linear(8, 1), nn.Linear(8, 1)

    def forward(self, x):
        z = self.body(x).tanh()
        return self.pack(a=self.a(z), b=self.b(z), hidden=z)


PACKS = {
    "mapping": lambda a, b, hidden: {"a": a, "b": b},
    "named tuple": lambda a, b, hidden: Outputs(b, a, hidden),
    "dataclass": lambda a, b, hidden: Container(b, a),
}
x = torch.randn(8, 4, generator=torch.Generator().manual_seed(1))
a, b = x[:, :1], 5 + x[:, 1:2]


def trained(pack, batch):
    net = Net(PACKS[pack])
    problem = moml.MultiTask(net, {task: nn.MSELoss() for task in TASKS})
    optimizer = torch.optim.SGD(net.parameters(), 0.1)
    history = moml.fit(
        problem, Direct(), Constant(preference=[1.0, 0.2]), optimizer, [batch], steps=3
    )
    return [record.losses for record in history.records]


@pytest.mark.supported
@pytest.mark.parametrize("pack", ["named tuple", "dataclass"])
def test_a_model_that_returns_a_named_tuple_or_dataclass_in_another_order(pack):
    assert trained(pack, (x, a, b)) == trained("mapping", (x, a, b))


Item = namedtuple("Item", "image b a")
Fields = namedtuple("Fields", "targets inputs")
Targets = namedtuple("Targets", "b a")
Data = make_dataclass("Data", ["image", "b", "a"])
BATCHES = {
    "named tuple": Item(x, b, a),
    "dataclass": Data(x, b, a),
    "fields of a batch": Fields({"b": b, "a": a}, x),
    "named targets": (x, Targets(b, a)),
}


@pytest.mark.supported
@pytest.mark.parametrize("form", BATCHES)
def test_batches_as_named_tuples_or_dataclasses_in_another_order(form):
    assert trained("mapping", BATCHES[form]) == trained("mapping", (x, a, b))


def test_a_named_tuple_whose_names_say_nothing_goes_by_its_order():
    unnamed = namedtuple("unnamed", "first second third")
    batch = as_batch(unnamed(x, a, b), TASKS)
    assert batch.inputs is x
    assert batch.targets["a"] is a


def test_a_dataclass_with_several_inputs_gives_keyword_arguments():
    several = make_dataclass("several", ["a", "words", "mask"])
    batch = as_batch(several(None, x, b), ("a", "b"))
    assert list(batch.inputs) == ["words", "mask"]
    assert not batch.targets


def test_named_tuple_with_a_missing_prediction():
    net = Net(lambda a, b, hidden: Container(b, None))
    losses = {task: nn.MSELoss() for task in TASKS}
    with pytest.raises(
        ValueError, match="`model` should return a prediction for task 'a', found None"
    ):
        moml.MultiTask(net, losses).losses(Batch(x, {"a": a, "b": b}))


class Both(nn.Module):
    """An encoder of two inputs, which could be mistaken for one another."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(2.0))

    def forward(self, left, right):
        return {"a": self.scale * left - right}


@pytest.mark.supported
def test_inputs_in_a_named_tuple_with_the_names_of_the_arguments():
    inputs = namedtuple("inputs", "right left")
    problem = moml.MultiTask(Both(), {"a": nn.MSELoss()})
    loss = problem.losses(Batch(inputs(right=b, left=a), {"a": a}))["a"]
    torch.testing.assert_close(loss, (a - b).square().mean())


@pytest.mark.supported
def test_losses_in_a_named_tuple_in_another_order():
    net = Net(PACKS["mapping"])
    made = net(x)
    losses = Targets((made["b"] - b).square().mean(), (made["a"] - a).square().mean())
    weights = moml.backward(losses, Constant(preference=[1.0, 0.2]).setup(TASKS))
    assert weights.tolist() == [0.2, 1.0]  # in the order of the losses


@pytest.mark.supported
def test_a_few_shot_network_that_returns_a_dataclass():
    def losses(pack):
        net = Net(PACKS[pack])
        problem = FewShot(net, nn.MSELoss(), target="a")
        episodes = EpisodeBatch(Batch(x[None], {"a": a[None]}), Batch(x[None], {"a": a[None]}))
        oracle = Bilevel(InnerSGD(0.1, steps=1), Unrolled())
        optimizer = torch.optim.SGD(net.parameters(), 0.1)
        history = moml.fit(problem, oracle, EW(), optimizer, [episodes], steps=2)
        return [record.losses for record in history.records]

    assert losses("dataclass") == losses("mapping") == losses("named tuple")
