"""What would only show after an hour of training, said at its start, with the task's name."""

import logging

import pytest
import torch
from torch import nn
from torchmetrics import MeanSquaredError as SquaredError
from torchmetrics.classification import MulticlassAccuracy

import moml
from moml.architecture import HPS
from moml.data import Batch, TaskSpec, TensorSource
from moml.jobs.multitask import MultiTaskJob
from moml.losses import CrossEntropy
from moml.oracle import Direct
from moml.weighting import EW
from tests.helpers import batch, network, problem
from tests.small_suite import Small, metrics

nan = float("nan")


class Changed(Small):
    """The small suite with other losses, metrics, or data of a split."""

    def __init__(self, *, specs=None, source=None):
        super().__init__()
        self.specs, self.source = specs or {}, source or (lambda split, source: source)

    @property
    def tasks(self):
        return {**super().tasks, **self.specs}

    def sources(self, split):
        return self.source(split, super().sources(split))


def run(folder, suite, **options):
    settings = {"steps": 4, "batch_size": 16, "eval_every": 2, "schedule": "constant", **options}
    return MultiTaskJob(suite, EW(), HPS, **settings).run(folder, quiet=True)


def spec(**changes):
    given = {"loss": CrossEntropy(3), "metrics": metrics, "main": "accuracy", **changes}
    return Changed(specs={"right": TaskSpec(**given)})


@pytest.mark.supported
@pytest.mark.parametrize("loss", [nn.CrossEntropyLoss(), nn.CrossEntropyLoss(label_smoothing=0.1)])
def test_a_suite_with_a_loss_of_torch(loss, tmp_path):
    assert run(tmp_path, spec(loss=loss))["steps"] == 4


@pytest.mark.refused("a metric is one number")
def test_a_metric_with_a_number_for_every_class(tmp_path):
    suite = spec(metrics=lambda: {"accuracy": MulticlassAccuracy(3, average=None)})
    with pytest.raises(ValueError, match=r"'accuracy' of task 'right' should be one number.*\(3,"):
        run(tmp_path, suite)


def test_a_metric_that_does_not_take_the_predictions(tmp_path):
    suite = spec(metrics=lambda: {"accuracy": SquaredError()})
    with pytest.raises(ValueError, match=r"'accuracy' of task 'right' should take .*\(8, 3\)"):
        run(tmp_path, suite)


def test_a_main_metric_that_is_none(tmp_path):
    with pytest.raises(ValueError, match=r"`main` of task 'right'.*\['accuracy'\], found 'acc'"):
        run(tmp_path, spec(main="acc"))


def damaged(where, change):
    def source(split, whole):
        return change(whole) if split == where else whole

    return Changed(source=source)


def without_right(whole):
    return TensorSource(whole.inputs, {"left": whole.targets["left"]})


def undefined_right(whole):
    undefined = torch.full_like(whole.targets["right"], -1)
    return TensorSource(whole.inputs, {**whole.targets, "right": undefined})


def with_nan(whole):
    inputs = whole.inputs.clone()
    inputs[3, 2] = nan
    return TensorSource(inputs, whole.targets)


def one_hot(whole):
    return TensorSource(
        whole.inputs,
        {**whole.targets, "right": nn.functional.one_hot(whole.targets["right"]).float()},
    )


@pytest.mark.parametrize(
    ("where", "change", "sentence"),
    [
        ("train", without_right, "'right' should have at least one label in the training data"),
        ("val", without_right, "'right' should have at least one label in the validation data"),
        ("val", undefined_right, "'right' should have at least one label in the validation data"),
        ("train", with_nan, "training data should be finite.*1 of 160 samples.*number 3"),
        ("val", with_nan, "Inputs of the validation data should be finite"),
        ("test", with_nan, "Inputs of the test data should be finite"),
        ("train", one_hot, r"'right' should be integer class labels.*argmax"),
        (
            "test",
            lambda whole: None,
            r"`sources\('test'\)` of Changed should be a source.*NoneType",
        ),
    ],
)
def test_damaged_data_are_named_before_the_first_step(where, change, sentence, tmp_path):
    with pytest.raises(ValueError, match=sentence):
        run(tmp_path / "run", damaged(where, change))
    assert not list((tmp_path / "run").glob("*"))  # nothing that would block the folder


class Lost(nn.Module):
    """Metrics that lose their way after a while."""

    higher_is_better = True

    def __init__(self, values):
        super().__init__()
        self.values = values

    def update(self, prediction, target):
        pass

    def compute(self):
        return torch.tensor(self.values.pop(0) if len(self.values) > 1 else self.values[0])


@pytest.mark.supported
def test_a_validation_score_that_is_not_a_number_is_said_and_never_the_best(tmp_path, caplog):
    values = [0.0, nan, 0.5, nan, 0.5]  # the first is a trial before the first step
    suite = spec(metrics=lambda: {"accuracy": Lost(values)})
    results = run(tmp_path, suite, steps=6)
    assert results["best_step"] == 4
    said = [r.message for r in caplog.records if "validation score" in r.message]
    assert [s.split(":")[0] for s in said] == ["Step 2", "Step 6"]
    assert "accuracy of 'right'" in said[0]


@pytest.mark.refused("no step is a candidate for the best")
def test_no_validation_score_is_a_number(tmp_path):
    values = [0.0, nan]
    suite = spec(metrics=lambda: {"accuracy": Lost(values)})
    with pytest.raises(ValueError, match="should be finite at least once"):
        run(tmp_path, suite)


# In a loop without a suite -------------------------------------------------------------------


def fit(batches, one=None, steps=3):
    one = problem(network()) if one is None else one
    optimizer = torch.optim.SGD(one.module.parameters(), 0.1)
    return moml.fit(one, Direct(), EW(), optimizer, batches, steps=steps)


@pytest.mark.supported
def test_a_task_that_never_has_a_label_is_named(caplog):
    data = batch()
    fit([Batch(data.inputs, {t: data.targets[t] for t in ("a", "c")})])
    said = [r.message for r in caplog.records if r.levelno == logging.WARNING]
    assert len(said) == 1
    assert "'b' had no label in 2 steps and were not trained" in said[0]


@pytest.mark.refused("targets and masks are named as tasks")
@pytest.mark.parametrize("field", ["targets", "present"])
def test_a_mistyped_target(field):
    data = batch()
    values = {"targets": dict(data.targets), "present": {}}
    values[field]["bb"] = torch.ones(12, dtype=torch.bool)
    with pytest.raises(ValueError, match=rf"`batch.{field}` should name tasks .*found 'bb'"):
        fit([Batch(data.inputs, **values)])


@pytest.mark.refused("it would not train")
def test_a_loss_that_is_detached():
    model = network()
    losses = {t: nn.CrossEntropyLoss() for t in ("a", "b")}
    losses["c"] = lambda prediction, target: nn.functional.cross_entropy(
        prediction.detach(), target
    )
    with pytest.raises(ValueError, match="loss of task 'c' should depend on its prediction"):
        fit([batch()], moml.MultiTask(model, losses))


@pytest.mark.refused("PyTorch would take them for probabilities and the mean be another")
def test_one_hot_labels_of_a_class_loss():
    data = batch()
    targets = {**data.targets, "b": nn.functional.one_hot(data.targets["b"], 3).double()}
    with pytest.raises(ValueError, match=r"task 'b' should be integer class labels.*\(12, 3\)"):
        fit([Batch(data.inputs, targets)])


@pytest.mark.parametrize(
    ("loss", "target", "sentence"),
    [
        (CrossEntropy(3), torch.zeros(12, 1, dtype=torch.long), r"fit CrossEntropy.*\(12, 1\)"),
        (CrossEntropy(9), torch.full((12,), 8), r"fit CrossEntropy, found .*\(12, 3\)"),
        (nn.CrossEntropyLoss(), torch.zeros(12, dtype=torch.int32), "int64 class labels, found"),
        (nn.MSELoss(), torch.zeros(12), r"fit MSELoss.*\(12, 3\).*target \(12,\)"),
        (nn.MSELoss(), torch.zeros(12, 3, dtype=torch.long), None),
        (lambda p, y: (p - y).square(), torch.zeros(12, 3), r"one number, found \(12, 3\)"),
        (lambda p, y: 3.0, torch.zeros(12, 3), "one number, found float"),
    ],
)
def test_targets_that_do_not_fit_the_loss(loss, target, sentence):
    data = batch(("a",))
    one = moml.MultiTask(network(("a",)), {"a": loss})
    if sentence is None:
        assert fit([Batch(data.inputs, {"a": target})], one).losses("a")
        return
    with pytest.raises(ValueError, match=sentence):
        fit([Batch(data.inputs, {"a": target})], one)


@pytest.mark.supported
def test_labels_of_int32_and_uint8():
    data = batch()
    expected = fit([data]).records
    for dtype in (torch.int32, torch.uint8):
        targets = {t: y.to(dtype) for t, y in data.targets.items()}
        assert fit([Batch(data.inputs, targets)]).records == expected
