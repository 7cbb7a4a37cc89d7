"""``moml search`` and ``moml retrain``: folders, resuming, bad input."""

import json
import signal

import pytest
import torch

from moml.__main__ import main
from moml.errors import NonFiniteError
from moml.jobs.search import SearchJob, Trainings
from moml.nas import Genotype
from moml.report.search import draw_cell

SMALL = [
    "search", "--space", "NBDigits", "--space.num_nodes", "3", "--space.channels", "4",
    "--suite", "Digits", "--steps", "4", "--batch_size", "16", "--budget", "3", "--epochs", "1",
    "--checkpoint_every", "2", "--log_every", "2",
]  # fmt: skip


def results(folder):
    found = json.loads((folder / "results.json").read_text())
    for entry in [found, *found["front"]]:
        for key in ("cpu_seconds", "search_cpu_seconds"):
            entry.pop(key, None)
    return found


@pytest.mark.parametrize(
    "method",
    [
        "ParetoSearch",
        *(
            pytest.param(m, marks=pytest.mark.slow)
            for m in ("E2RNAS", "GatedSearch", "ProposedStart")
        ),
    ],
)
def test_a_search_that_died_ends_with_the_same_front(method, tmp_path, monkeypatch, capsys):
    options = [*SMALL, "--method", method, "--run_dir"]
    assert main([*options, str(tmp_path / "whole")]) == 0
    front = results(tmp_path / "whole")["front"]
    assert front
    sizes = [entry["parameters"] for entry in front]
    assert sizes == sorted(sizes)
    kept = Trainings._trained

    def dies(self, genotype, outer):
        if len(self.records) == 2:
            raise ValueError("no more electricity")
        return kept(self, genotype, outer)

    monkeypatch.setattr(Trainings, "_trained", dies)
    assert main([*options, str(tmp_path / "broken")]) == 2
    monkeypatch.setattr(Trainings, "_trained", kept)
    torch.rand(3)
    assert main(["search", "--resume", str(tmp_path / "broken")]) == 0
    assert results(tmp_path / "broken") == results(tmp_path / "whole")
    assert main(["evaluate", str(tmp_path / "whole")]) == 2
    assert "found one of `moml search`" in capsys.readouterr().err
    page = (tmp_path / "whole" / "report.html").read_text()
    assert "Front" in page
    learnt = method in ("E2RNAS", "ProposedStart")  # how architecture parameters went
    assert ("edge 0 → 1" in page) == learnt
    genotype = Genotype.from_json((tmp_path / "whole" / "front" / "01.json").read_text())
    assert genotype.space.startswith("nb_digits-3")


def test_an_interrupted_search_says_how_to_go_on(tmp_path, monkeypatch, capsys):
    kept = Trainings._trained

    def interrupted(self, genotype, outer):
        if len(self.records) == 1:
            signal.raise_signal(signal.SIGINT)
        return kept(self, genotype, outer)

    monkeypatch.setattr(Trainings, "_trained", interrupted)
    folder = tmp_path / "run"
    assert main([*SMALL, "--method", "RandomSearch", "--run_dir", str(folder)]) == 130
    assert f"moml search --resume {folder}" in capsys.readouterr().out
    monkeypatch.setattr(Trainings, "_trained", kept)
    assert main(["search", "--resume", str(folder)]) == 0


@pytest.mark.supported
def test_a_search_goes_on_when_a_training_diverges(tmp_path, monkeypatch, capsys):
    kept, seen = SearchJob._train, []

    def diverges(self, genotype):
        seen.append(genotype)
        if len(seen) == 2:
            raise NonFiniteError("loss", ["digit"])
        return kept(self, genotype)

    monkeypatch.setattr(SearchJob, "_train", diverges)
    folder = tmp_path / "run"
    assert main([*SMALL, "--method", "RandomSearch", "--run_dir", str(folder)]) == 0
    assert "2 networks trained, 1 trainings failed" in capsys.readouterr().out
    found = results(folder)
    assert main(["search", "--resume", str(folder)]) == 0  # nothing is trained again
    assert len(seen) == 3 and results(folder) == found and found["failed"] == 1


@pytest.mark.refused("every training of the search diverged")
def test_a_search_in_which_every_training_diverges(tmp_path, monkeypatch, capsys):
    def diverges(self, genotype):
        raise NonFiniteError("loss", ["digit"])

    monkeypatch.setattr(SearchJob, "_train", diverges)
    assert main([*SMALL, "--method", "RandomSearch", "--run_dir", str(tmp_path / "run")]) == 2
    assert "found that all 3 failed. The last one: The loss" in capsys.readouterr().err


@pytest.mark.slow
def test_retraining_stops_resumes_and_attacks(tmp_path, capsys):
    text = "|conv3~0|+|skip~0|conv1~1|"
    options = [
        "--space", "NBDigits", "--space.num_nodes", "3", "--space.channels", "4",
        "--epochs", "1", "--samples", "6",
    ]  # fmt: skip
    assert main(["retrain", text, *options, "--run_dir", str(tmp_path / "a")]) == 0
    out = capsys.readouterr().out
    assert "adversarial (one step) training" in out
    found = json.loads((tmp_path / "a" / "results.json").read_text())
    test = found["test"]["digit"]
    assert test["worst_case"] <= min(test["clean"], test["pgd20_5_restarts"]) + 0.3
    assert test["pgd20_5_restarts"] <= test["pgd"] <= test["clean"]
    stored = str(tmp_path / "a" / "genotype.json")
    assert main(["retrain", stored, *options, "--clean_training", "true",
                 "--run_dir", str(tmp_path / "b")]) == 0  # fmt: skip
    assert json.loads((tmp_path / "b" / "results.json").read_text())["training"] == "clean"


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["search", "--space", "NBDigits", "--method", "E2RNA"], "Did you mean 'E2RNAS'"),
        (["search", "--space", "NBDigit"], "Did you mean 'NBDigits'"),
        (["search", "--space", "NBDigits", "--suite", "TwoDigits"], "`suite` should have one task"),
        (["search"], "`space` should be given"),
        (["search", "--space", "DARTS"], "`space` should be for images (1, 8, 8)"),
        (["search", "--space", "NBDigits", "--budget", "0"], "`budget` should be at least 1"),
        (
            ["search", "--space", "NBDigits", "--method", "ParetoSearch", "--weighting", "MGDA"],
            "`weighting` should be left out with ParetoSearch, found MGDA",
        ),
        (["retrain", "nonsense", "--space", "NBDigits"], "knows no cells by name"),
        (["retrain", "|conv3~0|", "--space", "NBDigits"], "should"),
        (["retrain", "{}", "--space", "NBDigits"], "A genotype should be JSON"),
    ],
)
def test_bad_input_is_one_sentence(argv, message, capsys, tmp_path):
    assert main([*argv, "--run_dir", str(tmp_path / "run")]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error


def test_spaces_and_searches_are_listed(capsys):
    assert main(["list", "spaces"]) == 0
    assert "NASBench201" in capsys.readouterr().out
    assert main(["list", "search_methods"]) == 0
    assert "E2RNASv1" in capsys.readouterr().out


def test_cells_are_drawn():
    svg = draw_cell([(0, 1, "conv3"), (0, 2, "skip")])
    assert svg.count("<circle") == 3
    assert "conv3" in svg
