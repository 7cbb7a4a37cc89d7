"""What an attack leaves behind, what it goes on from, and what it does not write over."""

import json

import pytest
import yaml

from moml.__main__ import main


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "run"
    small = ["--suite", "tests.small_suite.Small", "--batch_size", "32", "--steps", "4"]
    assert main(["train", *small, "--run_dir", str(folder)]) == 0
    return folder


def attack(run, *options):
    few = ["--eps", "0.1", "--steps", "2", "--samples", "8"]
    return main(["attack", str(run), *few, *options])


def refused(capsys, run, *options):
    capsys.readouterr()
    assert attack(run, *options) == 2
    error = capsys.readouterr().err
    assert len(error.strip().splitlines()) == 1
    return error


def test_the_settings_are_kept_as_values(run, tmp_path):
    options = ["--method", "PGD", "--bounds", "[-9, 9]", "--output", str(tmp_path / "out")]
    assert attack(run, *options) == 0
    config = yaml.safe_load((tmp_path / "out" / "config.yaml").read_text())
    assert (config["command"], config["method"], config["weighting"]) == ("attack", "PGD", None)
    assert (config["bounds"], config["eps"], config["universal"]) == ([-9.0, 9.0], 0.1, False)
    settings = json.loads((tmp_path / "out" / "attack.json").read_text())["settings"]
    assert (settings["steps"], settings["target"], settings["bounds"]) == (2, None, [-9.0, 9.0])
    assert settings["eot"] == 1  # the network is not random


@pytest.mark.refused("the checkpoint in the folder is that of another attack")
def test_an_attack_that_was_stopped_is_given_again_with_other_settings(run, tmp_path, capsys):
    out = tmp_path / "out"
    assert attack(run, "--method", "PGD", "--output", str(out)) == 0
    (out / "attack.json").unlink()  # as if it had been stopped
    error = refused(capsys, run, "--method", "PGD", "--eps", "0.2", "--output", str(out))
    assert f"that of the same attack, found '{out}', where `eps` is 0.1, not 0.2." in error
    assert attack(run, "--method", "PGD", "--output", str(out)) == 0


@pytest.mark.refused("an attack would write into the log and the checkpoints of the run")
def test_an_attack_whose_output_is_the_folder_of_a_run(run, capsys):
    before = {path.name: path.read_bytes() for path in run.iterdir() if path.is_file()}
    assert "where `command` is 'train'" in refused(capsys, run, "--output", str(run))
    assert {path.name: path.read_bytes() for path in run.iterdir() if path.is_file()} == before


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--method", "MTA"], "images (C, H, W) for MTA, found inputs of shape (6,)."),
        (["--method", "PGD", "--target", "9"], "`target` should be a class of 'left', 0 to 2"),
        (["--method", "PGD", "--eot", "0"], "`eot` should be at least 1, found 0."),
        (["--method", "PGD", "--samples", "0"], "`samples` should be at least 1, found 0."),
        (["--method", "PDG"], "found 'PDG'. Did you mean 'PGD'?"),
        (["--eps", "x"], "`eps` should be a number, found 'x'."),
        (["--bounds", "0, 1"], "`bounds` should be 'suite' or two numbers such as [0, 1], found"),
        (["--ouput", "a"], "There is no option `ouput`. Did you mean 'output'?"),
        (["--weighting", "MGDAA"], "found 'MGDAA'. Did you mean 'MGDA'?"),
        (["--seed", str(10**30)], "`seed` should be between -2^62 and 2^62"),
    ],
)
def test_an_attack_that_is_refused_leaves_no_folder(options, message, run, capsys):
    assert message in refused(capsys, run, *options)
    assert not list(run.glob("attack-*"))


def test_the_card_is_told_attack_by_attack(run, capsys):
    assert main(["robustness", str(run), "--eps", "0.1", "--samples", "4", "--steps", "2"]) in (
        0,
        1,
    )
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("  left: accuracy")
    assert lines[0].endswith("under FGSM")
    assert any(line.startswith("  right: accuracy") and "APGD-CE" in line for line in lines)
