"""Dense tasks under attack, as a user types it: from a trained run to scores and a card."""

import json

import pytest

from moml.__main__ import main

ROOMS = ["--suite", "Rooms", "--suite.size", "[16, 24]", "--suite.train", "24", "--suite.val", "2"]
TASKS = {"segmentation": "accuracy", "depth": "loss", "normals": "loss"}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rooms") / "run"
    short = ["--suite.test", "6", "--steps", "60", "--batch_size", "8", "--eval_every", "60"]
    assert main(["train", *ROOMS, *short, "--run_dir", str(folder)]) == 0
    return folder


def worse(task, score, than):
    """Accuracies fall under attack, losses rise."""
    return score < than if TASKS[task] == "accuracy" else score > than


@pytest.mark.parametrize(
    ("method", "steps"),
    [
        ("PGD", 10),
        pytest.param("UAP", 1, marks=pytest.mark.slow),
        pytest.param("MTA", 50, marks=pytest.mark.slow),
    ],
)
def test_every_dense_task_gets_worse(method, steps, run, tmp_path, capsys):
    folder = tmp_path / "attack"
    options = ["--eps", "0.1", "--steps", str(steps), "--samples", "8", "--batch_size", "8"]
    more = ["--split", "train", "--train_samples", "16", "--learning_rate", "5e-3"]
    command = ["attack", str(run), "--method", method, *options, *more, "--output", str(folder)]
    assert main(command) == 0
    scores = json.loads((folder / "attack.json").read_text())["scores"]
    assert {task: row["score"] for task, row in scores.items()} == TASKS
    for task, row in scores.items():
        assert worse(task, row[method], row["noise"]), task
        assert worse(task, row["PGD-10"], row["clean"]), task
    assert (folder / "generator.safetensors").exists() == (method == "MTA")
    assert main(command) != 0
    assert "`output` should be a new folder" in capsys.readouterr().err


@pytest.mark.slow
def test_the_card_of_dense_tasks(run, capsys):
    status = main(["robustness", str(run), "--eps", "0.1", "--samples", "4", "--steps", "10"])
    card = json.loads((run / "robustness.json").read_text())
    assert status == int(card["masked"])
    assert list(card["tasks"]) == list(card["transfer"]) == list(TASKS)
    for name, task in card["tasks"].items():
        assert task["score"] == TASKS[name]
        assert worse(name, task["worst"], task["clean"])
        assert not any(worse(name, score, task["worst"]) for score in task["attacks"].values())
        assert card["transfer"][name][name] == pytest.approx(task["attacks"]["PGD-50"])
        assert {"FGSM", "PGD-10", "PGD-50"} < set(task["attacks"])
    assert "segmentation" in (run / "robustness.html").read_text()
    assert "under attack" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("method", "option", "message"),
    [
        ("PGD", "--weighting=MGDA", "`weighting` should be left out with PGD"),
        ("GAP", "--weighting=MGDA", "`weighting` should be left out with GAP"),
        ("UAP", "--universal=true", "`universal` should be left out with UAP"),
    ],
)
def test_options_of_other_methods_are_refused(method, option, message, run, tmp_path, capsys):
    command = ["attack", str(run), "--method", method, "--eps", "0.1", option]
    assert main([*command, "--output", str(tmp_path / "attack")]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "attack").exists()
