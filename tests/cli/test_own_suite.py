"""A suite of one's own on the command line: what it names, how it is trained, what is ignored."""

import pytest
import torch
import yaml

import moml
from moml.__main__ import main
from moml.data import TaskSpec
from moml.losses import CrossEntropy
from tests.small_suite import Small

SMALL = ["--suite", "tests.small_suite.Small", "--batch_size", "32", "--steps", "4"]


def train(folder, *options):
    return main(["train", *SMALL, "--run_dir", str(folder), *options])


def refused(capsys, folder, *options):
    assert train(folder, *options) == 2
    error = capsys.readouterr().err
    assert len(error.strip().splitlines()) == 1
    assert not folder.exists()
    return error


class Aimless(Small):
    """A metric that does not say whether higher is better."""

    @property
    def tasks(self):
        from torchmetrics.classification import MulticlassAccuracy

        class Directionless(MulticlassAccuracy):
            higher_is_better = None

        def aimless():
            return {"accuracy": Directionless(3)}

        return {t: TaskSpec(CrossEntropy(3), aimless, main="accuracy") for t in ("left", "right")}


class Together(Small):
    """Heads that are made together."""

    def heads(self, in_features):
        shared = torch.nn.Linear(in_features, 3)
        return {"left": shared, "right": shared}


class OwnBatches(Small):
    """A suite that makes its own batches."""

    def loader(self, split, *, batch_size=None, seed=0):
        return super().loader(split, batch_size=batch_size, seed=seed)


class Listed(Small):
    """A list in place of sources."""

    def sources(self, split):
        return [super().sources(split)]


class Empty(Small):
    """No encoder."""

    def encoder(self):
        return None


@pytest.mark.supported
def test_a_suite_whose_tasks_are_named_by_integers(tmp_path):
    assert train(tmp_path / "run", "--suite", "tests.small_suite.Numbered") == 0
    found = moml.load_run(tmp_path / "run")
    assert list(found.results["test"]) == ["1", "2"] == list(found.suite.tasks)
    assert main(["data", "--suite", "tests.small_suite.Numbered"]) == 0
    plain = tmp_path / "plain"
    assert train(plain) == 0
    named = moml.load_run(plain).results["test"]
    assert found.results["test"] == {"1": named["left"], "2": named["right"]}


def test_one_task_of_a_suite_whose_tasks_are_named_by_integers(tmp_path):
    assert train(tmp_path / "run", "--suite", "tests.small_suite.Numbered", "--tasks", "[2]") == 0
    assert list(moml.load_run(tmp_path / "run").results["test"]) == ["2"]


def test_heads_that_a_suite_makes_together_are_kept_in_a_subset():
    from moml.data.subset import TaskSubset

    both = TaskSubset(Together(), ["left", "right"]).heads(8)
    assert both["left"] is both["right"]


@pytest.mark.refused("a subset of the tasks would pass by the batches that the suite makes itself")
def test_some_tasks_of_a_suite_with_a_loader_of_its_own(tmp_path, capsys):
    own = ["--suite", f"{__name__}.OwnBatches"]
    assert "`loader` of OwnBatches" in refused(capsys, tmp_path / "run", *own, "--tasks", "[left]")


@pytest.mark.refused("an optimizer of torch ignores settings that it does not know")
@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ("{rate: 0.1}", "found 'rate'."),
        ("{leanrate: 0.1, lr: 0.1}", "found 'leanrate'."),
        ("{weight_decy: 0.1}", "found 'weight_decy'. Did you mean 'weight_decay'?"),
        ("{lr: -0.1}", "should have a finite number, at least 0, as 'lr', found -0.1."),
        ("{lr: slow}", "should have a finite number, at least 0, as 'lr', found 'slow'."),
        ("{betas: 0.9}", "should have 2 numbers as 'betas', found 0.9."),
        ("{amsgrad: 1}", "should have true or false as 'amsgrad', found 1."),
    ],
)
def test_a_parameter_group_with_a_setting_that_the_optimizer_lacks(
    settings, message, tmp_path, capsys
):
    error = refused(capsys, tmp_path / "run", "--param_groups", f"{{encoder: {settings}}}")
    assert "`param_groups['encoder']`" in error
    assert message in error


@pytest.mark.refused("YAML readers take the last of two values and say nothing")
def test_a_recipe_that_gives_an_option_twice(tmp_path, capsys):
    recipe = tmp_path / "twice.yaml"
    recipe.write_text("steps: 4\nsuite:\n  class_path: Small\nsteps: 5\n")
    error = refused(capsys, tmp_path / "run", "--config", str(recipe))
    assert "'steps' is given twice, again in line 4" in error


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--tasks", "[left, left]"], "`tasks` should name every task once"),
        (["--suite", f"{__name__}.Aimless"], "should say whether higher is better"),
        (["--suite", f"{__name__}.Listed"], "`sources('val')` of Listed should be a source"),
        (["--suite", f"{__name__}.Empty"], "`encoder` of Empty should make a module"),
        (
            ["--encoder", "torch.nn.Linear", "--encoder.in_features", "6",
             "--encoder.out_features", "0"],
            "an integer of at least 1, found 0",
        ),
    ],
)  # fmt: skip
@pytest.mark.filterwarnings("ignore:Initializing zero-element")
def test_what_a_suite_lacks_is_said_before_any_step(options, message, tmp_path, capsys):
    assert message in refused(capsys, tmp_path / "run", *options)


GROUPS = "{encoder: {optimizer: SGD, lr: 0.05, momentum: 0.9}, '*.bias': {lr: 0.001}}"


@pytest.mark.supported
def test_several_optimizers_from_the_command_line(tmp_path):
    assert train(tmp_path / "run", "--schedule", "constant", "--param_groups", GROUPS) == 0
    job = moml.load_run(tmp_path / "run").job
    step = job.updater()
    kinds = [type(one.optimizer).__name__ for one in step.updaters]
    assert kinds == ["Adam", "SGD"]
    sgd = step.updaters[1].optimizer.param_groups[0]
    assert (sgd["lr"], sgd["momentum"]) == (0.05, 0.9)

    torch.manual_seed(0)
    problem, batch = job.problem, next(iter(job.loader("train")))
    evaluation = moml.oracle.Direct()(problem, batch)
    weights = moml.weighting.EW().update(evaluation)
    weight = problem.module.encoder[0].weight
    expected = weight.detach() - 0.05 * weight.grad
    step.step(evaluation, weights)
    torch.testing.assert_close(weight.detach(), expected)


@pytest.mark.supported
def test_a_run_with_several_optimizers_resumes_to_the_same_bits(tmp_path):
    options = ["--schedule", "constant", "--param_groups", GROUPS]
    assert train(tmp_path / "parts", *options) == 0
    assert main(["train", "--resume", str(tmp_path / "parts"), "--steps", "7"]) == 0
    assert train(tmp_path / "whole", *options, "--steps", "7") == 0
    whole = moml.load_run(tmp_path / "whole", weights="last").model.state_dict()
    for name, value in moml.load_run(tmp_path / "parts", weights="last").model.state_dict().items():
        assert torch.equal(value, whole[name]), name


@pytest.mark.refused("the names are those of `torch.optim`, or class paths")
@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ("{optimizer: SDG}", "found 'SDG'. Did you mean 'SGD'?"),
        ("{optimizer: nowhere.SGD}", "found 'nowhere.SGD'."),
        ("{optimizer: LBFGS}", "should take steps without a closure"),
        ("{optimizer: SGD, betas: [0.9, 0.99]}", "should have settings of SGD"),
    ],
)
def test_a_parameter_group_with_an_optimizer_that_does_not_fit(settings, message, tmp_path, capsys):
    error = refused(capsys, tmp_path / "run", "--param_groups", f"{{encoder: {settings}}}")
    assert message in error


def test_the_groups_stand_in_the_config(tmp_path):
    assert train(tmp_path / "run", "--param_groups", "{encoder: {lr: 1e-4}}") == 0
    stored = yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())
    assert stored["param_groups"] == {"encoder": {"lr": 1e-4}}
