"""Attacks keep to the bounds of the suite, whatever the command; wrong ones fail at the start."""

import json

import pytest

import tasks
from moml.__main__ import main
from moml.data import TensorSource

SMALL = ["--space", "NBDigits", "--space.num_nodes", "3", "--space.channels", "4", "--epochs", "1"]
GENOTYPE = "|conv3~0|+|conv3~0|none~1|"
SEARCH = ["search", *SMALL, "--method", "RandomSearch", "--budget", "1", "--steps", "2"]
RETRAIN = ["retrain", "--genotype", GENOTYPE, *SMALL, "--samples", "16"]


class Standardised(tasks.Digits):
    """The digits with their mean taken out: no bounds."""

    bounds = None

    def sources(self, split):
        source = super().sources(split)
        few = source.batch(__import__("torch").arange(96))
        return TensorSource((few.inputs - 0.3) / 0.35, few.targets)


class Mistaken(Standardised):
    """The same, still with the bounds of before."""

    bounds = (0.0, 1.0)


def go(arguments, suite, folder, *options):
    name = f"{__name__}.{suite.__name__}"
    return main([*arguments, "--suite", name, "--run_dir", str(folder), *options])


@pytest.mark.supported
@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param(SEARCH, id="search"),
        pytest.param(RETRAIN, id="retrain", marks=pytest.mark.slow),
    ],
)
def test_standardised_data_are_attacked_without_bounds(arguments, tmp_path):
    assert go(arguments, Standardised, tmp_path / "run") == 0
    assert json.loads((tmp_path / "run" / "results.json").read_text())["bounds"] is None


@pytest.mark.refused("bounds that the data leave would be clamped to")
@pytest.mark.parametrize("arguments", [SEARCH, RETRAIN], ids=["search", "retrain"])
def test_bounds_that_data_leave_fail_before_training(arguments, tmp_path, capsys):
    assert go(arguments, Mistaken, tmp_path / "run") == 2
    error = capsys.readouterr().err
    assert (
        "`bounds` should hold all inputs of Mistaken, found [0.0, 1.0] and inputs of -0.857"
        in error
    )
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_other_bounds_than_those_of_the_suite(tmp_path, capsys):
    assert go(RETRAIN, Mistaken, tmp_path / "run", "--bounds", "[-1, 3]") == 0
    assert json.loads((tmp_path / "run" / "results.json").read_text())["bounds"] == [-1.0, 3.0]
    assert go(RETRAIN, Mistaken, tmp_path / "other", "--bounds", "[3, -1]") == 2
    assert "`bounds` should be (low, high) with low < high" in capsys.readouterr().err


def test_few_shot_queries_are_attacked_within_bounds(tmp_path, capsys):
    options = ["meta", "--suite", "Sinusoid", "--objectives", "[clean, robust]", "--steps", "2",
               "--meta_batch_size", "2", "--val_episodes", "2", "--test_episodes", "2"]  # fmt: skip
    assert main([*options, "--bounds", "[0, 1]", "--run_dir", str(tmp_path / "a")]) == 2
    assert (
        "`bounds` should hold all inputs of Sinusoid, found [0.0, 1.0]" in capsys.readouterr().err
    )
    assert main([*options, "--bounds", "null", "--run_dir", str(tmp_path / "b")]) == 0
    found = json.loads((tmp_path / "b" / "results.json").read_text())
    assert found["bounds"] is None
