"""Runs from Python, and what loading them needs."""

import json

import pytest
import torch
from torch import nn

import moml
import tasks
from moml.__main__ import main
from moml.errors import CheckpointError
from moml.training.checkpoint import Checkpoint, read_state
from moml.weighting import MGDA

SHORT = {"suite": "TwoDigits", "weighting": "MGDA", "steps": 4, "batch_size": 16, "seed": 3}
OPTIONS = ["--suite", "TwoDigits", "--weighting", "MGDA", "--steps", "4", "--batch_size", "16",
           "--seed", "3"]  # fmt: skip


def weights(folder):
    return moml.load_run(folder, weights="last").model.state_dict()


@pytest.mark.supported
def test_a_run_from_python_is_the_command_lines_to_the_bit(tmp_path):
    found = moml.run("train", tmp_path / "python", **SHORT)
    assert main(["train", *OPTIONS, "--run_dir", str(tmp_path / "typed")]) == 0
    assert (tmp_path / "python" / "config.yaml").read_text() == (
        tmp_path / "typed" / "config.yaml"
    ).read_text()
    typed = weights(tmp_path / "typed")
    for name, value in weights(tmp_path / "python").items():
        assert torch.equal(value, typed[name]), name
    assert found == json.loads((tmp_path / "python" / "results.json").read_text())


@pytest.mark.supported
def test_a_run_from_python_made_longer_is_the_long_one(tmp_path):
    moml.run("train", tmp_path / "parts", **SHORT, schedule="constant")
    moml.run("train", tmp_path / "parts", resume=True, steps=6)
    moml.run("train", tmp_path / "whole", **(SHORT | {"steps": 6}), schedule="constant")
    whole = weights(tmp_path / "whole")
    for name, value in weights(tmp_path / "parts").items():
        assert torch.equal(value, whole[name]), name


@pytest.mark.supported
def test_classes_and_dotted_options_of_a_run_from_python(tmp_path):
    options = {"weighting": MGDA, "suite.missing": 0.5}
    moml.run("train", tmp_path / "run", **(SHORT | options))
    config = moml.load_run(tmp_path / "run").config
    assert config["weighting"]["class_path"].endswith("MGDA")
    assert config["suite"]["init_args"]["missing"] == 0.5


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"weighting": MGDA()}, "`weighting` should be a plain value, .* of type MGDA"),
        ({"weighting": "MDGA"}, "Did you mean 'MGDA'"),
        ({"stepz": 3}, "There is no option `stepz`"),
    ],
)
def test_wrong_options_of_a_run_from_python(options, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        moml.run("train", tmp_path / "run", **(SHORT | options))
    assert not (tmp_path / "run").exists()


def test_an_unknown_command(tmp_path):
    with pytest.raises(ValueError, match=r"`command` should be among meta.*Did you mean 'train'"):
        moml.run("trian", tmp_path / "run")


class Unread(tasks.TwoDigits):
    """Data that count how often they are read; layers are sized by an example of them."""

    read = 0

    def sources(self, split):
        type(self).read += 1
        return super().sources(split)

    def encoder(self):
        made = super().encoder()
        made.example_input = None
        return made


@pytest.mark.supported
def test_a_run_is_loaded_without_its_data_and_without_touching_global_state(tmp_path):
    name = f"{__name__}.{Unread.__name__}"
    moml.run("train", tmp_path / "run", **(SHORT | {"suite": name, "architecture": "MMoE"}))
    torch.set_num_threads(2)
    state, before = torch.get_rng_state(), Unread.read
    run = moml.load_run(tmp_path / "run")
    assert isinstance(run.model, nn.Module)
    assert Unread.read == before
    assert torch.equal(state, torch.get_rng_state())
    assert torch.get_num_threads() == 2
    torch.set_num_threads(1)
    assert run.evaluate("test").metrics == run.results["test"]
    assert Unread.read > before


class Paired(tasks.TwoDigits):
    """An encoder that shows an example of another type than a tensor."""

    def encoder(self):
        made = super().encoder()
        made.example_input = (torch.zeros(1, 1, 28, 28), torch.zeros(1))
        return made


@pytest.mark.supported
def test_an_encoder_whose_example_is_no_tensor_trains_and_loads(tmp_path):
    name = f"{__name__}.{Paired.__name__}"
    moml.run("train", tmp_path / "run", **(SHORT | {"suite": name}))
    assert isinstance(moml.load_run(tmp_path / "run").model, nn.Module)


@pytest.mark.refused("names of classes and files have changed since")
def test_run_folders_of_version_0_1(tmp_path, capsys):
    folder = tmp_path / "run"
    moml.run("train", folder, **SHORT)
    found = json.loads((folder / "versions.json").read_text())
    (folder / "versions.json").write_text(json.dumps(found | {"moml": "0.1.0"}))
    with pytest.raises(ValueError, match=r"a run of moml 0.2 or later, found one of moml 0.1.0"):
        moml.load_run(folder)
    assert main(["train", "--resume", str(folder)]) == 2
    assert "found one of moml 0.1.0" in capsys.readouterr().err


@pytest.mark.refused("names of classes and files have changed since")
def test_checkpoints_of_version_0_1(tmp_path):
    checkpoint = Checkpoint(tmp_path)
    checkpoint.save({"x": torch.ones(1)})
    state = read_state(checkpoint.last)
    torch.save(state | {"format": "moml checkpoint 1"}, checkpoint.last)
    with pytest.raises(CheckpointError, match="'moml checkpoint 1', of another version of moml"):
        read_state(checkpoint.last)
