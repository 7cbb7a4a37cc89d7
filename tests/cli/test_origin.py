"""A run that is continued or loaded from another folder than the one it was started in."""

import sys

import pytest
import torch

import moml
from moml.__main__ import main

SUITE = '''
"""A suite of one's own, which reads a file."""
from pathlib import Path

import torch
from moml.data import TensorSource
from tests.small_suite import Small


class FromFile(Small):
    def __init__(self, *, root: Path):
        super().__init__()
        self.root = root

    def sources(self, split):
        shift = torch.load(self.root / "shift.pt")
        source = super().sources(split)
        return TensorSource(source.inputs + shift, source.targets)
'''


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A folder with a suite, its data and a run of two steps, all by relative paths."""
    folder = tmp_path / "my home"
    (folder / "my data").mkdir(parents=True)
    (folder / "brought_suite.py").write_text(SUITE)
    torch.save(torch.ones(6), folder / "my data" / "shift.pt")
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.chdir(folder)
    train("run", "--steps", "2")
    return folder


def train(run, *options):
    suite = ["--suite", "brought_suite.FromFile", "--suite.root", "my data"]
    assert main(["train", *suite, "--batch_size", "32", "--run_dir", run, *options]) == 0


def elsewhere(monkeypatch, folder, home):
    """Go to another folder, from which the suite cannot be imported."""
    folder.mkdir()
    monkeypatch.chdir(folder)
    sys.path[:] = [entry for entry in sys.path if entry != str(home)]
    sys.modules.pop("brought_suite")


def weights(run):
    return (run / "weights.safetensors").read_bytes()


@pytest.mark.supported
def test_a_run_with_relative_paths_and_own_classes_is_resumed_from_another_folder(
    home, tmp_path, monkeypatch
):
    assert main(["train", "--resume", "run", "--steps", "4"]) == 0
    expected = weights(home / "run")
    train("again", "--steps", "2")
    elsewhere(monkeypatch, tmp_path / "elsewhere", home)
    assert main(["train", "--resume", str(home / "again"), "--steps", "4"]) == 0
    assert weights(home / "again") == expected


@pytest.mark.supported
def test_a_run_with_relative_paths_is_loaded_from_another_folder(home, tmp_path, monkeypatch):
    there = moml.load_run("run").evaluate("test")
    elsewhere(monkeypatch, tmp_path / "elsewhere", home)
    assert moml.load_run("../my home/run").evaluate("test").metrics == there.metrics


@pytest.mark.supported
def test_a_project_that_was_moved_whole_is_resumed_in_its_new_place(home, tmp_path, monkeypatch):
    elsewhere(monkeypatch, tmp_path / "elsewhere", home)
    moved = home.rename(tmp_path / "moved")
    monkeypatch.chdir(moved)
    assert main(["train", "--resume", "run", "--steps", "4"]) == 0


def test_the_command_that_continues_a_run_can_be_pasted(home, capsys):
    (home / "a b").mkdir()
    (home / "a b" / "note.txt").write_text("mine")
    suite = ["--suite", "brought_suite.FromFile", "--suite.root", "my data"]
    assert main(["train", *suite, "--run_dir", "a b"]) == 2
    assert "`moml train --resume 'a b'`" in capsys.readouterr().err
