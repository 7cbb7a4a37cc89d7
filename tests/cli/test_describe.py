"""What a network consists of, as printed and as drawn."""

import json

import pytest
import torch
from torch import nn

from moml.__main__ import main
from moml.architecture import HPS, MMoE, SafeMTL
from moml.data import TaskInputs
from moml.report.anatomy import anatomy

SMALL = ["--suite", "tests.small_suite.Deeper"]


def mlp():
    encoder = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 4), nn.ReLU())
    encoder.example_input = torch.zeros(1, 6)
    return encoder


def test_parts_are_the_coarsest_that_serve_the_same_tasks():
    found = anatomy(HPS(mlp(), {"a": nn.Linear(4, 3), "b": nn.Linear(4, 2)}), torch.randn(2, 6))
    named = {block.name: (block.parameters, block.tasks) for block in found.blocks}
    assert named == {
        "encoder": (6 * 8 + 8 + 8 * 4 + 4, ("a", "b")),
        "heads.a": (15, ("a",)),
        "heads.b": (10, ("b",)),
    }
    assert found.parameters == 92 + 25
    assert (found.used("a"), found.own("a")) == (92 + 15, 15)


def test_multiply_adds_are_those_of_the_formula():
    found = anatomy(HPS(mlp(), {"a": nn.Linear(4, 3), "b": nn.Linear(4, 2)}), torch.randn(3, 6))
    assert found.multiply_adds == {"a": 48 + 32 + 12, "b": 48 + 32 + 8}
    assert found.together == 48 + 32 + 12 + 8
    inputs = TaskInputs({"a": torch.randn(2, 6), "b": torch.randn(2, 6)})
    model = MMoE(mlp(), {"a": nn.Linear(4, 3), "b": nn.Linear(4, 2)}, experts=3)
    found = anatomy(model, inputs)
    assert found.multiply_adds == {"a": 48 + 3 * 32 + 24 + 12, "b": 48 + 3 * 32 + 24 + 8}
    assert found.together == sum(found.multiply_adds.values())


def test_what_no_task_uses_is_told():
    model = SafeMTL(mlp(), {"a": nn.Linear(4, 3)})
    model.idle = nn.Linear(2, 2)
    names = {block.name for block in anatomy(model, torch.randn(2, 6)).blocks if not block.tasks}
    assert names == {"idle"}


def test_the_command_prints_and_draws(tmp_path, capsys):
    picture = tmp_path / "model.svg"
    options = ["--architecture", "MMoE", "--architecture.experts", "3", "--picture", str(picture)]
    assert main(["describe", *SMALL, *options]) == 0
    out = capsys.readouterr().out
    assert "used by" in out
    assert "all 2 tasks" in out
    assert "multiply-adds per sample" in out
    assert "MMoE on Deeper" in picture.read_text()


def test_what_it_does_not_know_is_refused(capsys):
    assert main(["describe", *SMALL, "--architecture", "MMeO"]) == 2
    assert "Did you mean 'MMoE'?" in capsys.readouterr().err


@pytest.mark.parametrize("architecture", ["CrossStitch", "LTB", "MTAN"])
def test_architectures_train_on_a_suite_of_ones_own(architecture, tmp_path):
    """Whose encoder shows no example: the trainer shows it one of the suite's inputs."""
    folder = str(tmp_path / "run")
    options = ["--architecture", architecture, "--steps", "4", "--batch_size", "8"]
    assert main(["train", *SMALL, *options, "--run_dir", folder]) == 0


@pytest.mark.slow
def test_architectures_are_compared_with_every_weighting(tmp_path, capsys):
    folder = tmp_path / "compare"
    entries = "[HPS, {class_path: MMoE, init_args: {experts: 2}, label: two experts}]"
    options = ["--architectures", entries, "--weightings", "[MGDA]", "--seeds", "[0]"]
    options += ["--steps", "4", "--batch_size", "8", "--tune", "none", "--output", str(folder)]
    assert main(["compare", *SMALL, *options]) == 0
    rows = json.loads((folder / "comparison.json").read_text())
    assert [(r["label"], r["architecture"], r["weighting"]) for r in rows] == [
        ("HPS + MGDA", "HPS", "MGDA"),
        ("two experts + MGDA", "MMoE", "MGDA"),
    ]
    assert main(["compare", *SMALL, "--architectures", "[HSP]"]) == 2
    assert "Did you mean 'HPS'?" in capsys.readouterr().err


def test_architectures_are_listed_with_traits_and_papers(capsys):
    assert main(["list", "architectures"]) == 0
    out = capsys.readouterr().out
    assert "traits" in out
    assert "CVPR 2016" in out
