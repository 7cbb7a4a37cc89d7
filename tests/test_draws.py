"""Further batches of a step: where they come from, and what they leave alone."""

import pytest
import torch
from torch import nn

import moml
from moml.architecture import HPS
from moml.data import Loader
from moml.data.stream import LoaderStream
from moml.errors import NonFiniteError
from moml.oracle import Direct, Representation
from moml.training.callback import Callback
from moml.weighting import EW, LossWeighting, MoDo, Scaled, SDMGrad
from tests.helpers import TASKS, batch, flat_gradients, network, problem


def model_with_statistics():
    torch.manual_seed(0)
    encoder = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.Tanh())
    return HPS(encoder, {t: nn.Linear(8, 3) for t in TASKS}).double()


def loader(size=60):
    data = batch(size=size)
    return Loader(moml.data.TensorSource(data.inputs, data.targets), 10, shuffle=True)


class Numbers(Callback):
    """How many batches were drawn after each step."""

    def __init__(self):
        self.drawn = []

    def after_step(self, training):
        self.drawn.append(training.stream.number)


@pytest.mark.parametrize("oracle", [Direct, Representation])
@pytest.mark.parametrize(("method", "batches"), [(EW, 1), (MoDo, 3), (SDMGrad, 3)])
def test_a_step_draws_what_its_method_asks_for(method, batches, oracle):
    model, numbers = model_with_statistics(), Numbers()
    history = moml.fit(
        problem(model), oracle(), method(), torch.optim.SGD(model.parameters(), 0.1),
        LoaderStream(loader()), steps=4, callbacks=[numbers],
    )  # fmt: skip
    assert numbers.drawn == [batches, 2 * batches, 3 * batches, 4 * batches]
    assert len(history.records) == 4


def test_running_statistics_see_the_steps_own_batches_only():
    def statistics(method, chosen):
        model = model_with_statistics()
        batches = [loader().batch(i) for i in chosen]
        moml.fit(
            problem(model), Direct(), method(), torch.optim.SGD(model.parameters(), 0.0),
            batches, steps=3,
        )  # fmt: skip
        norm = model.encoder[1]
        return norm.running_mean, norm.running_var, norm.num_batches_tracked

    with_draws, without = statistics(MoDo, range(9)), statistics(EW, [0, 3, 6])
    for found, expected in zip(with_draws, without, strict=True):
        assert torch.equal(found, expected)


class Look(LossWeighting):
    """Runs a function on every evaluation."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def weights(self, losses, *, tasks=None):
        return torch.ones_like(losses)

    def update(self, evaluation):
        self.function(evaluation)
        return super().update(evaluation)


def run_once(function, model, batches):
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    moml.fit(problem(model), Direct(), Look(function), optimizer, batches, steps=1)


def test_further_batches_are_the_next_ones_and_the_same_when_asked_again():
    model = network()
    batches = [batch(seed=i) for i in range(3)]
    expected = [problem(model).losses(b) for b in batches]

    def look(evaluation):
        for i in (2, 0, 1, 2):
            found = evaluation.draw(i).losses
            torch.testing.assert_close(found, torch.stack(list(expected[i].values())).detach())
        assert evaluation.draw(1) is evaluation.draw(1)

    run_once(look, model, batches)


def test_again_is_the_same_batch_at_the_parameters_as_they_are():
    model = network()

    def look(evaluation):
        same = evaluation.source.again()
        assert torch.equal(same.losses, evaluation.losses)
        with torch.no_grad():
            model.heads["a"].bias += torch.tensor([1.0, 0.0, -1.0])
        moved = evaluation.source.again()
        assert moved.losses[0] != evaluation.losses[0]
        assert torch.equal(moved.losses[1:], evaluation.losses[1:])
        with torch.no_grad():
            model.heads["a"].bias -= torch.tensor([1.0, 0.0, -1.0])

    run_once(look, model, [batch()])


@pytest.mark.parametrize("missing", [False, True], ids=["all tasks", "one absent"])
def test_cross_products_are_those_of_the_gradients(missing):
    model = network()
    second = batch(seed=5)
    if missing:
        del second.targets["b"]
    shared = list(problem(model).shared_parameters())
    rows = [
        torch.stack([flat_gradients(loss, shared) for loss in problem(model).losses(b).values()])
        for b in (batch(seed=4), second)
    ]

    def look(evaluation):
        other = evaluation.draw(1)
        torch.testing.assert_close(evaluation.cross(other), rows[0] @ rows[1].T)
        torch.testing.assert_close(evaluation.cross(evaluation), rows[0] @ rows[0].T)
        factors = torch.tensor([2.0, 3.0, 0.5], dtype=torch.float64)
        scaled = evaluation.scaled(factors)
        theirs = factors[other.tasks]
        torch.testing.assert_close(
            scaled.cross(scaled.draw(1)),
            (factors[:, None] * rows[0]) @ (theirs[:, None] * rows[1]).T,
        )
        torch.testing.assert_close(
            evaluation.reweighted(lambda w: w).cross(other), rows[0] @ rows[1].T
        )

    run_once(look, model, [batch(seed=4), second])


def test_scaled_losses_are_drawn_scaled():
    model, weighting = network(), Scaled(MoDo(gamma=0.1))
    optimizer = torch.optim.SGD(model.parameters(), 0.05)
    history = moml.fit(problem(model), Direct(), weighting, optimizer, loader(), steps=5)
    assert all(len(record.weights) == 3 for record in history.records)


def test_a_bad_further_batch_is_reported_with_its_step():
    model, bad = network(), batch(seed=1)
    bad.inputs[0] = float("nan")
    optimizer = torch.optim.SGD(model.parameters(), 0.05)
    with pytest.raises(NonFiniteError, match="Step 1"):
        moml.fit(problem(model), Direct(), MoDo(), optimizer, [batch(), bad], steps=1)
