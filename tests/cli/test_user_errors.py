"""Whatever a user brings that does not fit ends in one sentence, before a step is spent."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from moml.__main__ import main
from moml.data import TaskSpec
from moml.losses import CrossEntropy, Loss
from tests import small_suite
from tests.small_suite import Small

ROOT = Path(__file__).parent.parent.parent


class Wider(Small):
    """An encoder for seven numbers; there are six."""

    def encoder(self):
        return torch.nn.Linear(7, 8)


class Narrow(Small):
    """Heads for two classes; there are three, and the head of one task takes other features."""

    def head(self, task, in_features):
        return torch.nn.Linear(in_features if task == "left" else 5, 3)


class Doubles(Small):
    """Inputs of double precision."""

    def _source(self, split, tasks, stream):
        source = super()._source(split, tasks, stream)
        source.inputs = source.inputs.double()
        return source


class PerSample(Loss):
    """A loss that is not summed up."""

    def per_sample(self, prediction, target):
        return prediction.sum(1)

    def __call__(self, prediction, target):
        return prediction.sum(1)


class Unsummed(Small):
    """A loss per sample."""

    @property
    def tasks(self):
        return {
            t: TaskSpec(PerSample(), small_suite.metrics, main="accuracy")
            for t in ("left", "right")
        }


class Mistyped(Small):
    """A main metric that there is not."""

    @property
    def tasks(self):
        return {
            t: TaskSpec(CrossEntropy(3), small_suite.metrics, main="acuracy")
            for t in ("left", "right")
        }


class Untested(Small):
    """No test split."""

    def sources(self, split):
        return None if split == "test" else super().sources(split)


class Broken(Small):
    """A heads of the user's own that raises."""

    def head(self, task, in_features):
        raise KeyError(task)


def train(folder, name, *options):
    suite = name if "." in name else f"{__name__}.{name}"
    return main(["train", "--suite", suite, "--steps", "3", "--run_dir", str(folder), *options])


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "Wider",
            "The encoder should take inputs (4, 6) float32, found RuntimeError: mat1 and mat2",
        ),
        (
            "Narrow",
            "The head of task 'right' should take features (4, 8) float32, found RuntimeErr",
        ),
        ("Doubles", "The encoder should take inputs (4, 6) float64, found RuntimeError: "),
        ("Unsummed", "The loss of task 'left' should be one number, found (4,) float32."),
        (
            "Mistyped",
            "`main` of task 'left' should be among its metrics ['accuracy'], found 'acuracy'.",
        ),
        (
            "Untested",
            "`sources('test')` of Untested should be a source, or one for each task, found None",
        ),
        ("Broken", "KeyError in the suite's `head` (test_user_errors.py, line "),
    ],
)
def test_parts_that_do_not_fit_are_named_before_the_first_step(name, message, tmp_path, capsys):
    assert train(tmp_path / "run", name) == 2
    error = capsys.readouterr().err
    assert message in error
    assert len(error.strip().splitlines()) == 1
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--optimizer", "LBFGS"], "`optimizer` should take steps without a closure, found LBFGS."),
        (["--scheduler", "ReduceLROnPlateau"], "`scheduler` should step without a measurement, "),
        (["--optimizer", "Adm"], "`optimizer` should be among ASGD, Adadelta, "),
        (["--optimizer", "Adm"], "Did you mean 'Adam'?"),
        (["--weighting", "CAGrad", "--weighting.cc", "1"], "`weighting.cc`"),
        (["--weighting", "CAGrad", "--weighting.cc", "1"], "CAGrad takes c, rescale."),
        (
            ["--weighting", "Constant", "--weighting.preference", "equal"],
            "`preference` should be a list of numbers such as '[1, 2]', found 'equal'.",
        ),
        (
            ["--weighting", "Constant", "--weighting.preference", "[1,a]"],
            "`preference` should be a list of numbers such as '[1, 2]', found",
        ),
        (["--weighting", "NashMTL", "--weighting.max_norm", "a"], "should be a number, found 'a'."),
        (
            ["--weighting", "FAMO", "--weighting.lr", ".nan"],
            "`lr` should be a finite number, found nan.",
        ),
        (["--weighting", "Scald"], "Did you mean 'Scaled'?"),
        (["--weighting", "Every"], "`weighting.weighting` should be given, with"),
        (["--tasks", "left"], "`tasks` should be a list of names, found 'left'. Write '[left]'."),
    ],
)
def test_options_that_torch_lists_but_that_do_not_fit(options, message, tmp_path, capsys):
    assert train(tmp_path / "run", "tests.small_suite.Small", *options) == 2
    error = capsys.readouterr().err
    assert message in error
    assert len(error.strip().splitlines()) == 1


@pytest.mark.supported
def test_a_wrapper_of_weightings_by_name_on_the_command_line(tmp_path):
    options = [
        "--weighting",
        "Scaled",
        "--weighting.weighting",
        "CAGrad",
        "--weighting.weighting.c",
        "0.5",
    ]
    folder = tmp_path / "run"
    options += ["--weighting.weighting.c", "0.5", "--weighting.scaling", "UW", "--steps", "1"]
    assert train(folder, "tests.small_suite.Small", *options) == 0
    assert "moml.weighting.Scaled" in (folder / "config.yaml").read_text()


def test_a_traceback_is_there_for_whoever_asks(tmp_path, monkeypatch):
    monkeypatch.setenv("MOML_TRACEBACK", "1")
    with pytest.raises(ValueError, match="The encoder should take"):
        train(tmp_path / "run", "Wider")


@pytest.mark.slow
@pytest.mark.supported
def test_a_file_of_ones_own_is_named_tasks_py(tmp_path):
    (tmp_path / "tasks.py").write_text("raise RuntimeError('never imported')\n")
    command = [sys.executable, "-m", "moml", "list", "suites"]
    environment = {"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"}
    found = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert "TwoDigits" in found.stdout, found.stderr
    command = [sys.executable, "-m", "moml", "data", "--suite", "Digits"]
    found = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert found.stdout.startswith("Digits: made here"), found.stderr


@pytest.mark.supported
def test_steps_on_the_command_line_replace_epochs_of_a_recipe(tmp_path):
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("suite: tests.small_suite.Small\narchitecture: HPS\nepochs: 3\n")
    from moml.cli.train import COMMAND

    config = COMMAND.parser().parse(["--config", str(recipe), "--steps", "7"])
    assert (config.steps, config.epochs) == (7, None)
    config = COMMAND.parser().parse(["--config", str(recipe)])
    assert config.epochs == 3
