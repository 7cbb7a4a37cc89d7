"""Networks, optimizers, batches as somebody else brings them to `moml.fit`."""

import pytest
import torch
from torch import nn
from torch.optim.lr_scheduler import OneCycleLR, StepLR

import moml
from moml.architecture import HPS
from moml.data import Batch
from moml.errors import CheckpointError, NonFiniteError
from moml.losses import MeanSquaredError
from moml.optim import as_updater
from moml.oracle import Accumulated, Direct
from moml.training.checkpoint import Checkpoint
from moml.weighting import EW
from tests.helpers import TASKS, batch, network, problem


def fit(made, batches, *, optimizer=None, oracle=None, **options):
    made = moml.MultiTask(made, {t: MeanSquaredError() for t in "ab"}) if _plain(made) else made
    optimizer = optimizer or torch.optim.SGD(made.module.parameters(), lr=0.1)
    oracle = oracle or Direct()
    return moml.fit(made, oracle, EW(), optimizer, batches, **{"steps": 1, **options})


def _plain(made):
    return isinstance(made, nn.Module)


def numbers(size=8):
    return Batch(torch.randn(size, 6), {"a": torch.randn(size), "b": torch.randn(size)})


class Cut(nn.Module):
    def __init__(self, cut):
        super().__init__()
        self.encoder, self.a, self.b = nn.Linear(6, 4), nn.Linear(4, 1), nn.Linear(4, 1)
        self.cut = cut

    def forward(self, x):
        z = self.encoder(x)
        return {"a": self.a(z)[:, 0], "b": self.cut(self.b(z)[:, 0])}


@pytest.mark.refused("the task would not train: it is named")
@pytest.mark.parametrize("cut", [torch.Tensor.detach, torch.zeros_like])
@pytest.mark.parametrize("oracle", [Direct, lambda: Accumulated(Direct(), parts=2)])
def test_a_network_whose_output_for_one_task_is_detached_or_constant(cut, oracle):
    with pytest.raises(ValueError, match="prediction of task 'b' should depend on something"):
        fit(Cut(cut), [numbers()], oracle=oracle())


@pytest.mark.supported
@pytest.mark.parametrize("oracle", [Direct, lambda: Accumulated(Direct(), parts=2)])
def test_a_frozen_encoder_below_heads_that_train(oracle):
    model = network(tasks=("a", "b"))
    model.encoder.requires_grad_(False)
    before = model.heads["a"].weight.clone()
    heads = torch.optim.SGD(model.heads.parameters(), lr=0.1)
    fit(problem(model), [batch(("a", "b"))], optimizer=heads, oracle=oracle())
    assert not torch.equal(before, model.heads["a"].weight)


@pytest.mark.supported
@pytest.mark.parametrize(
    "schedule", [lambda o: StepLR(o, 2), lambda o: OneCycleLR(o, 0.1, total_steps=9)]
)
def test_an_optimizer_that_a_scheduler_of_torch_is_attached_to(schedule):
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    schedule(optimizer)
    assert len(fit(problem(model), [batch()], optimizer=optimizer, steps=2).records) == 2


@pytest.mark.refused("a step that evaluates the losses again is another method")
def test_an_optimizer_that_asks_for_a_closure_with_a_scheduler_attached():
    optimizer = torch.optim.LBFGS(network().parameters())
    StepLR(optimizer, 2)
    with pytest.raises(ValueError, match="asks for a closure"):
        as_updater(optimizer)


@pytest.mark.refused("the position of the stored run does not exist in the new batches")
def test_resuming_with_fewer_batches_than_the_stored_run_had_drawn(tmp_path):
    model = network()
    data = [batch(seed=i) for i in range(5)]
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    fit(problem(model), data, optimizer=optimizer, steps=4, checkpoint=Checkpoint(tmp_path))
    again = Checkpoint(tmp_path, resume=True)
    with pytest.raises(CheckpointError, match="`batches` end after 2 in an epoch"):
        fit(problem(model), data[:2], optimizer=optimizer, steps=6, checkpoint=again)


@pytest.mark.refused("the encoder that refused the inputs is named, with the shapes")
@pytest.mark.parametrize("inputs", [torch.zeros(8, 5), torch.zeros(8, 6, dtype=torch.int64)])
def test_inputs_of_another_width_or_type_than_the_encoder_takes(inputs):
    targets = {t: torch.zeros(8) for t in "ab"}
    model = HPS(nn.Linear(6, 4), {t: nn.Linear(4, 1) for t in "ab"})
    with pytest.raises(ValueError, match="`inputs` should fit the network's encoder") as error:
        fit(model, [Batch(inputs, targets)])
    assert isinstance(error.value.__cause__, RuntimeError)


@pytest.mark.refused("the heads that refused the features are named, with the shapes")
def test_heads_of_another_width_than_the_encoder():
    model = HPS(nn.Linear(6, 4), {t: nn.Linear(3, 1) for t in "ab"})
    with pytest.raises(ValueError, match="Features should fit the network's heads"):
        fit(model, [numbers()])


@pytest.mark.refused("a target that is NaN is named, and `undefined` as the way out")
def test_targets_with_nan_that_no_loss_leaves_out():
    data = numbers()
    data.targets["b"][3] = float("nan")
    with pytest.raises(NonFiniteError, match=r"targets of 'b' hold NaN .*`undefined=float"):
        fit(Cut(lambda x: x), [data])


@pytest.mark.refused("inputs that are NaN are named beside the tasks")
def test_inputs_with_nan():
    data = numbers()
    data.inputs[3] = float("nan")
    with pytest.raises(NonFiniteError, match=r"The inputs of this batch hold NaN"):
        fit(Cut(lambda x: x), [data])


@pytest.mark.refused("the tasks are named")
def test_the_losses_of_a_task_that_does_not_exist():
    history = fit(problem(network()), [batch()])
    assert len(history.losses(TASKS[0])) == 1
    with pytest.raises(ValueError, match=r"`task` should be one of \['a', 'b', 'c'\]"):
        history.losses("typo")


@pytest.mark.supported
def test_a_task_that_is_frozen_whole_while_another_trains(caplog):
    model = network(tasks=("a", "b"))
    model.encoder.requires_grad_(False)
    model.heads["b"].requires_grad_(False)
    heads = torch.optim.SGD(model.heads["a"].parameters(), lr=0.1)
    history = fit(problem(model), [batch(("a", "b"))], optimizer=heads, steps=2)
    assert len(history.records) == 2
    assert caplog.text.count("prediction of task 'b' should depend") == 1
