"""A step per group: IUS and IO."""

import pytest
import torch
from torch import nn

import moml
from moml.data import Loader, TensorSource
from moml.optim import AdaTask, GradientStep, TaskSteps
from moml.oracle import Direct, Representation
from moml.training.callback import Callback
from moml.training.checkpoint import Checkpoint
from moml.weighting import EW, MGDA, UW
from tests.helpers import TASKS, batch, network, problem
from tests.test_draws import model_with_statistics


def flat(model):
    return torch.cat([p.detach().flatten() for p in model.parameters()])


def loader():
    data = batch(size=40)
    source = TensorSource(data.inputs, data.targets, {"b": torch.arange(40) < 22})
    return Loader(source, 8, shuffle=True)


def sgd(parameters):
    return torch.optim.SGD(parameters, 0.1)


def adam(parameters):
    return torch.optim.Adam(parameters, 0.01)


def train(make, *, steps=5, weighting=EW, model=None, checkpoint=None, oracle=Direct, **options):
    model = network() if model is None else model
    updater = TaskSteps(make, model.parameters(), TASKS, **options)
    moml.fit(
        problem(model), oracle(), weighting(), updater, loader(), steps=steps, checkpoint=checkpoint
    )
    return flat(model)


def one_step_a_batch(make, **options):
    model = network()
    updater = GradientStep(make(model.parameters()))
    moml.fit(problem(model), Direct(), EW(), updater, loader(), steps=5, **options)
    return flat(model)


@pytest.mark.parametrize("make", (sgd, adam))
@pytest.mark.parametrize("independent", (False, True))
def test_one_group_is_the_plain_step(make, independent):
    found = train(make, num_groups=1, independent=independent)
    assert torch.equal(found, one_step_a_batch(make))


def test_with_sgd_independent_optimizers_change_nothing():
    shared, own = (train(sgd, independent=i, seed=3) for i in (False, True))
    assert torch.equal(shared, own)
    assert not torch.allclose(shared, one_step_a_batch(sgd))


def test_with_adam_they_do():
    shared, own = (train(adam, independent=i, seed=3) for i in (False, True))
    assert not torch.allclose(shared, own)


class Linear(moml.Problem):
    """Losses linear in a point, with gradients of very different size."""

    tasks, module = TASKS, None

    def __init__(self):
        self.module = nn.ParameterDict({"x": torch.zeros(4, dtype=torch.float64)})
        draw = torch.Generator().manual_seed(0)
        sizes = torch.tensor([[1.0], [30.0], [0.1]], dtype=torch.float64)
        self.slopes = sizes * torch.randn(8, 3, 4, generator=draw, dtype=torch.float64)

    def losses(self, number):
        products = self.slopes[number] @ self.module["x"]
        return dict(zip(self.tasks, products.unbind(), strict=True))

    def shared_parameters(self):
        return self.module.parameters()

    def private_parameters(self, task):
        return []


def on_linear(make_updater):
    linear = Linear()
    updater = make_updater(list(linear.module.parameters()))
    moml.fit(linear, Direct(), EW(), updater, list(range(8)), steps=20)
    return linear.module["x"].detach()


def test_on_linear_losses_steps_commute():
    plain = on_linear(lambda p: GradientStep(sgd(p)))
    torch.testing.assert_close(on_linear(lambda p: TaskSteps(sgd, p, TASKS)), plain)
    own = on_linear(lambda p: TaskSteps(adam, p, TASKS, independent=True))
    ada_task = on_linear(lambda p: GradientStep(AdaTask(p, 0.01)))
    torch.testing.assert_close(own, ada_task)
    shared = on_linear(lambda p: TaskSteps(adam, p, TASKS))
    assert (shared - own).abs().max() > 0.01


def test_a_head_moves_in_its_own_step_only():
    model, moved = network(), []
    updater = TaskSteps(adam, model.parameters(), TASKS, seed=1)
    for optimizer in updater.optimizers:
        optimizer.register_step_post_hook(
            lambda *_: moved.append([h.weight.grad is not None for h in model.heads.values()])
        )
    data = batch()
    moml.fit(problem(model), Direct(), EW(), updater, [data], steps=1)
    assert [sum(row) for row in moved] == [1, 1, 1]
    assert {row.index(True) for row in moved} == {0, 1, 2}


def test_running_statistics_see_a_batch_once():
    model = model_with_statistics()
    train(sgd, model=model, steps=4)
    assert model.encoder[1].num_batches_tracked == 4


@pytest.mark.parametrize("resample", ("run", "epoch", "step"))
def test_groups_are_dealt_when_asked(resample):
    dealt = []

    class Look(Callback):
        def after_step(self, training):
            dealt.append((training.stream.epoch, str(training.updater._groups)))

    model = network()
    updater = TaskSteps(sgd, model.parameters(), TASKS, num_groups=2, resample=resample, seed=5)
    moml.fit(problem(model), Direct(), EW(), updater, loader(), steps=30, callbacks=[Look()])
    assert all(len(eval(groups)) == 2 for _, groups in dealt)
    different = len({groups for _, groups in dealt})
    if resample == "run":
        assert different == 1
    else:
        assert different > 1
    if resample == "epoch":
        assert len(set(dealt)) == len({epoch for epoch, _ in dealt})


@pytest.mark.parametrize("resample", ("run", "step"))
@pytest.mark.parametrize("independent", (False, True))
def test_a_resumed_run_ends_with_the_same_bits(independent, resample, tmp_path):
    options = {
        "independent": independent, "resample": resample, "weighting": UW,
        "scheduler": lambda o: torch.optim.lr_scheduler.StepLR(o, 3),
    }  # fmt: skip
    whole = train(adam, steps=9, **options)
    train(adam, steps=5, checkpoint=Checkpoint(tmp_path, every=1), **options)
    again = Checkpoint(tmp_path, every=1, resume=True)
    assert torch.equal(whole, train(adam, steps=9, checkpoint=again, **options))


def test_weights_and_the_weightings_own_parameters():
    model, weighting = network(), UW()
    updater = TaskSteps(adam, model.parameters(), TASKS)
    moml.fit(problem(model), Direct(), weighting, updater, loader(), steps=3)
    assert (weighting.log_variances != -0.5).all()
    assert not torch.equal(train(sgd, weighting=MGDA), train(sgd, weighting=EW))


def test_representations_work_too():
    assert torch.equal(train(sgd), train(sgd, oracle=Representation))


def test_mistakes_are_explained():
    model = network()
    for options in ({"num_groups": 4}, {"num_groups": 0}, {"resample": "batch"}):
        with pytest.raises(ValueError, match=r"`\w+` should be .*, found"):
            TaskSteps(sgd, model.parameters(), TASKS, **options)
    evaluation = Direct()(problem(model), batch())
    with pytest.raises(ValueError, match="evaluate a batch again"):
        TaskSteps(sgd, model.parameters(), TASKS).step(evaluation, None)
