"""Rates of their own for parts of a network: parameter groups, and several optimizers."""

import pytest
import torch

import moml
from moml.jobs.multitask import MultiTaskJob
from moml.optim import GradientStep, Several, param_groups
from moml.oracle import Direct
from moml.training.checkpoint import Checkpoint
from moml.weighting import EW, MGDA, UW
from tests.helpers import batch, network, problem
from tests.small_suite import Small


def train(updater, model, *, make=MGDA, steps=5, checkpoint=None):
    return moml.fit(
        problem(model), Direct(), make(), updater, [batch()], steps=steps, checkpoint=checkpoint
    )


def flat(model):
    return torch.cat([p.detach().flatten() for p in model.parameters()])


@pytest.mark.supported
@pytest.mark.parametrize("make", [MGDA, UW])
def test_several_optimizers_one_for_each_part(make):
    """As one optimizer with groups, where both are of one kind."""
    one, two = network(), network()
    groups = [{"params": one.encoder.parameters()}, {"params": one.heads.parameters(), "lr": 0.01}]
    train(torch.optim.Adam(groups, lr=0.1), one, make=make)
    several = [
        torch.optim.Adam(two.encoder.parameters(), lr=0.1),
        torch.optim.Adam(two.heads.parameters(), lr=0.01),
    ]
    train(several, two, make=make)
    assert torch.equal(flat(one), flat(two))


@pytest.mark.supported
def test_several_optimizers_resume_with_their_schedules(tmp_path):
    def updater(model):
        def halving(optimizer):
            return torch.optim.lr_scheduler.StepLR(optimizer, 2, gamma=0.5)

        heads = GradientStep(torch.optim.Adam(model.heads.parameters(), 0.1), scheduler=halving)
        return [torch.optim.SGD(model.encoder.parameters(), 0.1, momentum=0.9), heads]

    unbroken = network()
    train(updater(unbroken), unbroken, steps=7)
    for steps in (3, 7):
        resumed = network()
        checkpoint = Checkpoint(tmp_path, every=100, resume=True)
        train(updater(resumed), resumed, steps=steps, checkpoint=checkpoint)
    assert torch.equal(flat(resumed), flat(unbroken))


@pytest.mark.supported
def test_parameter_groups_by_name_with_rates_of_their_own():
    model = network()
    settings = {"heads.a": {"lr": 0.5}, "*.bias": {"weight_decay": 0.0}, "heads": {"lr": 0.2}}
    groups = param_groups(model, settings)
    named = {p: name for name, p in model.named_parameters()}
    found = [[named[p] for p in group.pop("params")] for group in groups]
    assert found == [
        ["encoder.0.weight", "encoder.2.weight"],
        ["heads.a.weight", "heads.a.bias"],
        ["encoder.0.bias", "encoder.2.bias", "heads.b.bias", "heads.c.bias"],
        ["heads.b.weight", "heads.c.weight"],
    ]
    assert groups == [{}, *settings.values()]


@pytest.mark.supported
def test_parameter_groups_of_a_training_run_keep_their_rates_under_a_schedule(tmp_path):
    settings = {"encoder": {"lr": 1e-4}, "heads.left": {"weight_decay": 0.1}}
    trainer = MultiTaskJob(
        Small(), EW(), moml.architecture.HPS, optimizer=torch.optim.AdamW, learning_rate=1e-2,
        param_groups=settings, steps=4, batch_size=16, eval_every=4,
    )  # fmt: skip
    updater = trainer.updater()
    assert [g["lr"] for g in updater.optimizer.param_groups] == [1e-2, 1e-4, 1e-2]
    assert [g["weight_decay"] for g in updater.optimizer.param_groups] == [1e-2, 1e-2, 0.1]
    before = flat(trainer.architecture)
    trainer.run(tmp_path / "run", quiet=True)
    assert not torch.equal(flat(trainer.architecture), before)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"body": {"lr": 1.0}}, "found 'body', which matches none .* begin with encoder, heads"),
        ({"heads": {"lr": 1.0}, "heads.a": {"lr": 1.0}}, "found 'heads.a', which matches none"),
        ({"heads": 0.1}, r"`param_groups\['heads'\]` should be settings"),
    ],
)
def test_groups_that_name_nothing(settings, sentence):
    with pytest.raises(ValueError, match=sentence):
        param_groups(network(), settings)


def test_groups_that_name_nothing_are_refused_before_a_run_begins():
    with pytest.raises(ValueError, match="found 'body', which matches none"):
        MultiTaskJob(Small(), EW(), moml.architecture.HPS, param_groups={"body": {"lr": 1e-4}})


def test_a_parameter_in_two_optimizers():
    model = network()
    with pytest.raises(ValueError, match=r"every parameter once, found one of shape \(8, 6\)"):
        Several([torch.optim.SGD(model.parameters(), 0.1) for _ in range(2)])
    with pytest.raises(ValueError, match="at least one optimizer, found none"):
        Several([])


@pytest.mark.refused("it evaluates the losses several times in a step; weightings decide once")
def test_an_optimizer_that_asks_for_a_closure():
    with pytest.raises(ValueError, match="found LBFGS, which asks for a closure"):
        train(torch.optim.LBFGS(network().parameters()), network())


@pytest.mark.refused("schedules advance by steps; there is no one metric among several tasks")
def test_a_scheduler_that_asks_for_a_metric():
    model = network()
    updater = GradientStep(
        torch.optim.SGD(model.parameters(), 0.1),
        scheduler=torch.optim.lr_scheduler.ReduceLROnPlateau,
    )
    with pytest.raises(ValueError, match="found ReduceLROnPlateau, which asks for a metric"):
        train(updater, model)


@pytest.mark.supported
@pytest.mark.parametrize("schedule", ["StepLR", "OneCycleLR"])
def test_an_optimizer_with_a_scheduler_attached(schedule):
    from torch.optim import lr_scheduler

    model = torch.nn.Linear(2, 1)
    optimizer = torch.optim.Adam(model.parameters())
    options = {"step_size": 2} if schedule == "StepLR" else {"max_lr": 0.1, "total_steps": 9}
    getattr(lr_scheduler, schedule)(optimizer, **options)
    assert GradientStep(optimizer).parameters()
