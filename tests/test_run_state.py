"""A run resumes with what it was made of; anything else is named."""

import logging
import warnings

import pytest
import torch
from torch import nn

import moml
from moml.architecture import HPS
from moml.data import Batch
from moml.errors import CheckpointError
from moml.losses import CrossEntropy, MeanSquaredError
from moml.optim import GradientStep, Several
from moml.oracle import Direct
from moml.training.callback import Callback
from moml.training.checkpoint import Checkpoint
from moml.weighting import UW


def halving(optimizer):
    return torch.optim.lr_scheduler.StepLR(optimizer, 1, gamma=0.5)


def sgd(parameters, lr=0.1, **settings):
    return torch.optim.SGD(parameters, lr=lr, **settings)


def run(folder, *, steps=4, width=3, loss=None, updater=sgd, deeper=False, callbacks=(), one=None):
    """Steps of a small network from the folder's checkpoint, if there is one."""
    if one is None:
        torch.manual_seed(0)
        encoder = nn.Sequential(nn.Linear(2, width), *[nn.Linear(width, width)] * 4 * deeper)
        heads = {"a": nn.Linear(width, 2), "b": nn.Linear(width, 2)}
        losses = {"a": MeanSquaredError() if loss is None else loss, "b": nn.MSELoss()}
        one = moml.MultiTask(HPS(encoder, heads), losses)
    labels = isinstance(loss, (CrossEntropy, nn.CrossEntropyLoss))
    target = torch.zeros(4, dtype=torch.long) if labels else torch.zeros(4, 2)
    made = updater(one.module.parameters())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a scheduler that was made before the first step
        return moml.fit(
            one,
            Direct(),
            UW(),
            made,
            [Batch(torch.ones(4, 2), {"a": target, "b": torch.zeros(4, 2)})],
            steps=steps,
            callbacks=callbacks,
            checkpoint=Checkpoint(folder, every=1, resume=True),
        ), made


class Quiet(Callback):
    """Does nothing."""


OTHERS = {
    "another loss": (
        {"loss": CrossEntropy(2)},
        r"its loss of task 'a' is MeanSquaredError\(undefined=None\), and this one CrossEntropy\(",
    ),
    "a loss of other settings": (
        {"loss": MeanSquaredError(undefined=-1.0)},
        r"is MeanSquaredError\(undefined=None\), and this one MeanSquaredError\(undefined=-1.0\)",
    ),
    "a loss of PyTorch": ({"loss": nn.MSELoss()}, r"and this one MSELoss\(reduction='mean'\)"),
    "another optimizer": ({"updater": torch.optim.Adam}, "its optimizer is SGD, and this one Adam"),
    "two optimizers": (
        {"updater": lambda ps: Several([sgd([one]) for one in ps])},
        "its optimizer is SGD, and this one SGD and SGD and",
    ),
    "other parameter groups": (
        {"updater": lambda ps: sgd([{"params": [one]} for one in ps])},
        r"groups of \[7\] parameters, and this one of \[2, 1, 1, 1, 1, 1\]",
    ),
    "a wider network": (
        {"width": 5},
        r"network is another one: it has encoder.0.weight \(3, 2\) instead of \(5, 2\).* 1 more",
    ),
    "a deeper network": (
        {"deeper": True},
        "it has no encoder.1.weight, encoder.1.bias, encoder.2.weight and 5 more",
    ),
    "another callback": (
        {"callbacks": [Quiet(), Quiet()]},
        r"its callbacks are \['Quiet'\], and those of this run \['Quiet', 'Quiet'\]",
    ),
}


@pytest.mark.refused("the checkpoint is of another run: what differs is named")
@pytest.mark.parametrize(("change", "message"), OTHERS.values(), ids=list(OTHERS))
def test_resuming_with_another_loss_optimizer_network_or_callbacks(tmp_path, change, message):
    run(tmp_path, steps=2, callbacks=[Quiet()])
    with pytest.raises(CheckpointError, match=message) as caught:
        run(tmp_path, **{"callbacks": [Quiet()], **change})
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400


@pytest.mark.supported
def test_resuming_with_another_learning_rate_keeps_that_of_the_checkpoint_and_says_so(
    tmp_path, caplog
):
    run(tmp_path, steps=2)
    with caplog.at_level(logging.WARNING, "moml"):
        _, optimizer = run(tmp_path, updater=lambda ps: sgd(ps, 0.01, momentum=0.9))
    (said,) = [r.getMessage() for r in caplog.records if "checkpoint's settings" in r.getMessage()]
    assert "lr=0.1, not 0.01" in said
    assert "momentum=0, not 0.9" in said
    assert optimizer.param_groups[0]["lr"] == 0.1
    caplog.clear()
    with caplog.at_level(logging.WARNING, "moml"):
        run(tmp_path, steps=6)  # as at first: what was said is not stored
    assert not caplog.records


@pytest.mark.parametrize(
    "scheduler",
    [
        halving,
        lambda o: torch.optim.lr_scheduler.OneCycleLR(o, 0.3, total_steps=20),
        lambda o: torch.optim.lr_scheduler.LinearLR(o, total_iters=3),
    ],
)
def test_a_schedule_is_no_other_learning_rate(tmp_path, caplog, scheduler):
    def updater(parameters):
        return GradientStep(sgd(parameters, momentum=0.5), scheduler=scheduler)

    with caplog.at_level(logging.WARNING, "moml"):
        for steps in (2, 4, 6):
            run(tmp_path, steps=steps, updater=updater)
    assert not caplog.records


def test_a_rate_that_a_run_changed_by_itself_is_no_other_one(tmp_path, caplog):
    class Halve(Callback):
        def after_step(self, training):
            training.updater.optimizer.param_groups[0]["lr"] /= 2

    with caplog.at_level(logging.WARNING, "moml"):
        for steps in (2, 4):
            run(tmp_path, steps=steps, callbacks=[Halve()])
    assert not caplog.records


@pytest.mark.refused("the checkpoint is of another run: what differs is named")
def test_resuming_callbacks_whose_state_does_not_fit(tmp_path):
    class Counting(Callback):
        def state_dict(self):
            return {"seen": ()}

        def load_state_dict(self, state):
            self.seen = state["seen"][0]

    run(tmp_path, steps=2, callbacks=[Counting()])
    with pytest.raises(CheckpointError, match=r"does not fit \(IndexError: tuple index"):
        run(tmp_path, callbacks=[Counting()])


def test_checkpoints_that_say_nothing_of_losses_are_read(tmp_path):
    from moml.training.checkpoint import read_state, write_atomically

    run(tmp_path, steps=2)
    state = read_state(tmp_path / "last.pt")
    del state["made_of"], state["callback_kinds"]
    write_atomically(state, tmp_path / "last.pt")
    assert len(run(tmp_path)[0].records) == 2
