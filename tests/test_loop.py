"""The loop: exact resume, signals, NaN, and what it refuses."""

import os
import signal

import pytest
import torch
from torch import nn

import moml
from moml.architecture import HPS
from moml.data import Batch, Loader, TensorSource
from moml.errors import CheckpointError, NonFiniteError
from moml.optim import GradientStep
from moml.oracle import Direct, Representation
from moml.training.callback import Callback
from moml.training.checkpoint import Checkpoint, read_state
from moml.weighting import DWA, EW, MGDA, RLW, UW, Every
from tests.helpers import TASKS, batch, network, problem
from tests.weightings import all_weightings


def source(size=40, classes=3):
    g = torch.Generator().manual_seed(3)
    inputs = torch.randn(size, 6, generator=g, dtype=torch.float64)
    targets = {t: torch.randint(classes, (size,), generator=g) for t in TASKS}
    present = {"b": torch.rand(size, generator=g) < 0.5}
    return TensorSource(inputs, targets, present)


def model_with_state(seed):
    """Dropout draws from the global generator, batch norm keeps running statistics."""
    torch.manual_seed(seed)
    encoder = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.Tanh(), nn.Dropout(0.2))
    return HPS(encoder, {t: nn.Linear(8, 3) for t in TASKS}).double()


def run(make, *, steps, folder=None, seed=0, resume=False, every=4, oracle=Direct, callbacks=()):
    model = model_with_state(seed)
    weighting = make()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    updater = GradientStep(
        optimizer, scheduler=lambda o: torch.optim.lr_scheduler.StepLR(o, 5), clip_norm=5.0
    )
    history = moml.fit(
        problem(model),
        oracle(),
        weighting,
        updater,
        Loader(source(), 8, shuffle=True, seed=seed if folder is None else 0),
        steps=steps,
        callbacks=callbacks,
        checkpoint=None if folder is None else Checkpoint(folder, every=every, resume=resume),
    )
    return model, weighting, history


def same(a, b):
    left, right = a.state_dict(), b.state_dict()
    return left.keys() == right.keys() and all(
        torch.equal(torch.as_tensor(left[k]), torch.as_tensor(right[k])) for k in left
    )


@pytest.mark.parametrize("name", list(all_weightings()))
@pytest.mark.parametrize("killed_at", [3, 7])
def test_a_resumed_run_ends_with_the_same_bits(name, killed_at, tmp_path):
    """Stopped at a step that is no multiple of ``every``, as a kill would: work is redone."""
    make = all_weightings()[name]
    whole, state, history = run(make, steps=11)

    class Killed(Exception):
        pass

    class Kill(Callback):
        def after_step(self, training):
            if training.step == killed_at:
                raise Killed

    with pytest.raises(Killed):
        run(make, steps=11, folder=tmp_path, every=2, callbacks=[Kill()])
    resumed, state_again, rest = run(
        make, steps=11, folder=tmp_path, seed=9, resume=True, callbacks=[Callback()]
    )
    assert same(whole, resumed)
    assert same(state, state_again)
    assert rest.records == history.records[killed_at - 1 :]


def test_same_seed_same_numbers_and_another_seed_others():
    assert same(run(MGDA, steps=5)[0], run(MGDA, steps=5)[0])
    assert not same(run(MGDA, steps=5)[0], run(MGDA, steps=5, seed=1)[0])


@pytest.mark.parametrize("oracle", [Direct, Representation])
def test_losses_fall(oracle):
    model = network()
    data = source()
    history = moml.fit(
        problem(model),
        oracle(),
        MGDA(),
        torch.optim.Adam(model.parameters(), 0.05),
        Loader(data, 40),
        steps=60,
    )
    for task in TASKS:
        losses = history.losses(task)
        assert losses[-1] < 0.6 * losses[0]


def test_learnable_weights_join_the_optimizer_and_move():
    _, weighting, _ = run(UW, steps=6)
    (parameter,) = weighting.parameters()
    fresh = UW()
    fresh.setup(TASKS)
    assert not torch.equal(parameter, next(fresh.parameters()))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_finish_the_step_save_and_leave(number, tmp_path):
    class Signal(Callback):
        def before_update(self, training):
            if training.step == 4:
                os.kill(os.getpid(), number)

    before = signal.getsignal(number)
    _, _, history = run(EW, steps=20, folder=tmp_path, callbacks=[Signal()], every=100)
    assert history.stopped == f"{signal.Signals(number).name} after step 5 of 20"
    assert read_state(tmp_path / "last.pt")["step"] == 5
    assert signal.getsignal(number) is before
    whole, _, _ = run(EW, steps=20)
    resumed, _, _ = run(EW, steps=20, folder=tmp_path, resume=True, callbacks=[Callback()])
    assert same(whole, resumed)


class Exploding(moml.Problem):
    """The loss of task ``bad`` is what the batch says; batch norm sees the batch first."""

    tasks = ("fine", "bad")

    def __init__(self):
        torch.manual_seed(0)
        self.norm = nn.BatchNorm1d(1)

    @property
    def module(self):
        return self.norm

    def losses(self, data):
        out = self.norm(data[:, None])
        return {"fine": out.square().mean(), "bad": out.mean() + data[0] * 0}

    def shared_parameters(self):
        return self.norm.parameters()

    def private_parameters(self, task):
        return []


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_nan_names_task_and_step_and_saves_the_state_before(value, tmp_path):
    good = [torch.tensor([1.0, 2.0, 4.0]), torch.tensor([0.0, 1.0, 5.0])]
    bad = torch.tensor([value, 1.0, 2.0])

    def fit(batches, folder, steps):
        task_problem = Exploding()
        optimizer = torch.optim.SGD(task_problem.norm.parameters(), 0.1)
        checkpoint = Checkpoint(folder, every=100)
        moml.fit(
            task_problem, Direct(), RLW(), optimizer, batches, steps=steps, checkpoint=checkpoint
        )

    with pytest.raises(NonFiniteError, match=r"Step 3: The loss of task .*'bad' should be finite"):
        fit([*good, bad], tmp_path / "nan", 9)
    fit(good, tmp_path / "two", 2)
    found, expected = (read_state(tmp_path / d / "last.pt") for d in ("nan", "two"))
    assert found["step"] == expected["step"] == 2
    for part in ("module", "weighting"):
        for key, value in expected[part].items():
            assert torch.equal(torch.as_tensor(found[part][key]), torch.as_tensor(value)), key
    assert found["stream"] == expected["stream"]


def test_infinite_gradient_of_a_finite_loss_names_the_task(tmp_path):
    class Cusp(Exploding):
        def losses(self, data):
            weight = self.norm.weight
            return {"fine": weight.sum(), "bad": (weight - weight.detach()).sqrt().sum()}

    task_problem = Cusp()
    optimizer = torch.optim.SGD(task_problem.norm.parameters(), 0.1)
    with pytest.raises(NonFiniteError, match="Step 1: The gradient of task 'bad'"):
        moml.fit(task_problem, Direct(), MGDA(), optimizer, [None], steps=1)


@pytest.mark.supported
@pytest.mark.parametrize("make", [EW, UW, DWA])
def test_an_infinite_gradient_of_a_finite_loss_moves_nothing(make, tmp_path):
    """These methods never look at gradients: the loop does."""

    class Cusp(Exploding):
        def losses(self, data):
            weight = self.norm.weight
            spoilt = (weight - weight.detach()).sqrt().sum() if data else weight.sum()
            return {"fine": weight.sum(), "bad": spoilt}

    task_problem = Cusp()
    optimizer = torch.optim.SGD(task_problem.norm.parameters(), 0.1)
    with pytest.raises(NonFiniteError, match=r"Step 3: The gradient of task 'bad' should"):
        moml.fit(
            task_problem, Direct(), make(), optimizer, [False, False, True, False], steps=9,
            checkpoint=Checkpoint(tmp_path, every=2),
        )  # fmt: skip
    state = read_state(tmp_path / "last.pt")
    assert state["step"] == 2
    for weight in (state["module"]["weight"], task_problem.norm.weight):
        assert torch.isfinite(weight).all()


def test_parameter_missing_from_the_optimizer():
    model = network()
    optimizer = torch.optim.SGD(model.encoder.parameters(), 0.1)
    with pytest.raises(ValueError, match=r"found 6 missing: heads.a.weight, .*, …"):
        moml.fit(problem(model), Direct(), EW(), optimizer, Loader(source(), 8), steps=1)
    model.heads.requires_grad_(False)
    moml.fit(problem(model), Direct(), EW(), optimizer, Loader(source(), 8), steps=1)


@pytest.mark.parametrize(
    ("steps", "batches", "message"),
    [
        (0, [None], "`steps` should be at least 1, found 0"),
        (1, [], "at least one batch, found none"),
    ],
)
def test_nothing_to_do(steps, batches, message):
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    with pytest.raises(ValueError, match=message):
        moml.fit(problem(model), Direct(), EW(), optimizer, batches, steps=steps)


def test_a_checkpoint_of_something_else(tmp_path):
    run(EW, steps=2, folder=tmp_path)
    model = network(("a", "b"))
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    with pytest.raises(CheckpointError, match=r"same problem.*its tasks are"):
        moml.fit(
            problem(model), Direct(), EW(), optimizer, [None], steps=3,
            checkpoint=Checkpoint(tmp_path, resume=True),
        )  # fmt: skip
    with pytest.raises(CheckpointError, match="same problem"):
        run(lambda: DWA(window=2), steps=3, folder=tmp_path, resume=True)


def test_a_plain_list_of_batches_resumes_too(tmp_path):
    """Not only loaders: any re-iterable is drawn to the stored position."""
    data = source()
    batches = [data.batch(torch.arange(i, i + 8)) for i in range(0, 40, 8)]

    def go(folder, steps, resume=False):
        model = network()
        moml.fit(
            problem(model), Direct(), EW(), torch.optim.SGD(model.parameters(), 0.1), batches,
            steps=steps, checkpoint=Checkpoint(folder, resume=resume),
        )  # fmt: skip
        return model

    whole = go(tmp_path / "whole", 12)
    go(tmp_path / "parts", 7)
    assert same(whole, go(tmp_path / "parts", 12, resume=True))


def test_epochs_reach_the_weighting():
    seen = []

    class Look(EW):
        def update(self, evaluation):
            seen.append((evaluation.step, evaluation.epoch))
            return super().update(evaluation)

    run(Look, steps=12)
    assert seen == [(i, i // 5) for i in range(12)]


def test_weights_are_renewed_every_n_steps_without_gradients_in_between():
    known = []

    class Look(Callback):
        def after_step(self, training):
            known.append(training.evaluation.known_gramian is not None)

    run(lambda: Every(MGDA(), n=3), steps=7, callbacks=[Look()])
    assert known == [True, False, False, True, False, False, True]


def test_one_task():
    model = network(("a",))
    data = source()
    only = [Batch(data.inputs, {"a": data.targets["a"]})]
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    history = moml.fit(problem(model), Direct(), MGDA(), optimizer, only, steps=3)
    assert [record.weights["a"] for record in history.records] == pytest.approx([1.0] * 3)


@pytest.mark.parametrize("name", list(all_weightings()))
@pytest.mark.parametrize("kind", ["zero gradients", "one zero gradient", "identical gradients"])
def test_degenerate_gradients_train_on_without_nan(name, kind):
    class Degenerate(moml.Problem):
        tasks = ("a", "b")
        module = nn.Linear(3, 1)

        def losses(self, data):
            value = self.module(torch.ones(1, 3)).square().sum()
            flat = 1 + 0 * value
            second = {"zero gradients": flat, "one zero gradient": flat}.get(kind, value + 0.5)
            return {"a": flat if kind == "zero gradients" else value + 0.5, "b": second}

        def shared_parameters(self):
            return self.module.parameters()

        def private_parameters(self, task):
            return []

    task_problem = Degenerate()
    before = [p.detach().clone() for p in task_problem.module.parameters()]
    weighting = all_weightings()[name]()
    optimizer = torch.optim.SGD(task_problem.module.parameters(), 0.01)
    moml.fit(task_problem, Direct(), weighting, optimizer, [None], steps=4)
    after = list(task_problem.module.parameters())
    assert all(torch.isfinite(p).all() for p in [*after, *weighting.parameters()])
    unmoved = all(torch.equal(a, b) for a, b in zip(before, after, strict=True))
    if kind == "zero gradients":
        assert unmoved
    elif kind == "identical gradients":
        assert not unmoved


class _At(Callback):
    """Does something to the network after a step."""

    def __init__(self, step, act):
        self.step, self.act = step, act

    def after_step(self, training):
        if training.step == self.step:
            self.act(training)


@pytest.mark.refused("the optimizer does not hold it: `add_param_group` is named")
def test_a_parameter_unfrozen_in_a_run_that_the_optimizer_does_not_hold():
    model = network()
    model.encoder[0].requires_grad_(False)
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
    unfreeze = _At(2, lambda training: model.encoder[0].requires_grad_(True))
    with pytest.raises(ValueError, match=r"2 missing: encoder\.0\.weight.*add_param_group"):
        moml.fit(
            problem(model), Direct(), MGDA(), optimizer, [batch()], steps=5, callbacks=[unfreeze]
        )


@pytest.mark.refused("the optimizer holds the old one: `add_param_group` is named")
def test_a_layer_replaced_in_a_run_without_telling_the_optimizer():
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    replace = _At(2, lambda training: model.encoder.__setitem__(0, nn.Linear(6, 8).double()))
    with pytest.raises(ValueError, match=r"2 missing: encoder\.0\.weight"):
        moml.fit(problem(model), Direct(), EW(), optimizer, [batch()], steps=5, callbacks=[replace])


@pytest.mark.supported
def test_a_layer_unfrozen_in_a_run_and_given_to_the_optimizer():
    model = network()
    model.encoder[0].requires_grad_(False)
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
    before = model.encoder[0].weight.clone()

    def unfreeze(training):
        model.encoder[0].requires_grad_(True)
        optimizer.add_param_group({"params": list(model.encoder[0].parameters())})

    moml.fit(
        problem(model),
        Direct(),
        MGDA(),
        optimizer,
        [batch()],
        steps=5,
        callbacks=[_At(2, unfreeze)],
    )
    assert not torch.equal(model.encoder[0].weight, before)


@pytest.mark.refused("the checkpoint is another weighting's: both are named")
def test_a_checkpoint_resumed_with_another_weighting(tmp_path):
    def run(weighting, *, resume):
        model = network()
        moml.fit(
            problem(model), Direct(), weighting, torch.optim.SGD(model.parameters(), lr=0.1),
            [batch()], steps=3, checkpoint=Checkpoint(tmp_path, every=1, resume=resume),
        )  # fmt: skip

    run(EW(), resume=False)
    with pytest.raises(CheckpointError, match="its weighting is EW, and this one MGDA"):
        run(MGDA(), resume=True)
