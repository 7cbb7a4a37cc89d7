"""Grids of learning rates, and what comparing needs at least."""

import json
import signal
import subprocess
import sys

import pytest
import yaml

from moml.__main__ import main
from moml.cli._sweep_options import around
from moml.jobs.sweep import SweepRun, at_edge

SMALL = ["--suite", "tests.small_suite.Small", "--batch_size", "32", "--steps", "4"]


@pytest.mark.parametrize(
    ("rate", "listed", "expected"),
    [
        (1e-3, (3e-4, 1e-3, 3e-3), [3e-4, 1e-3, 3e-3]),
        (0.05, (3e-4, 1e-3, 3e-3), [0.015, 0.05, 0.15]),
    ],
)
def test_the_grid_is_around_the_rate_of_the_suite(rate, listed, expected):
    assert around(rate, listed) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("rate", "rates", "edge"),
    [(0.1, [0.1, 0.2, 0.3], True), (0.3, [0.1, 0.2, 0.3], True), (0.2, [0.1, 0.2, 0.3], False),
     (0.1, [0.1], False)],
)  # fmt: skip
def test_a_best_rate_at_the_edge_of_the_grid_is_said(rate, rates, edge):
    said = []
    assert at_edge({"EW": rate}, "EW", rates, announce=said.append) is edge
    assert len(said) == edge
    assert not at_edge({}, "EW", rates, announce=said.append)  # not tuned


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--weightings", "[]"], "`weightings` should name at least one method"),
        (["--weightings", "EW"], "`weightings` should be a list, found 'EW'. Write '[EW]'."),
        (["--seeds", "[]"], "`seeds` should hold at least one number, found an empty list."),
        (["--learning_rates", "[]"], "`learning_rates` should hold at least one number"),
        (["--learning_rates", "[1e-3, -1]"], "should be a number above 0, found -1"),
        (["--jobs", "0"], "`jobs` should be at least 1, found 0."),
        (["--config", "meta_glyphs"], "found those of `moml meta`. Use `moml meta --config …`."),
    ],
)
def test_nothing_to_compare_gets_one_sentence(options, message, tmp_path, capsys):
    assert main(["compare", *SMALL, *options, "--output", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert len(error.strip().splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_a_comparison_says_how_it_was_made_and_its_page_can_be_written_again(tmp_path, capsys):
    folder = tmp_path / "out"
    options = ["--weightings", "[EW]", "--seeds", "[0]", "--learning_rates", "[1e-3, 1e-2]"]
    assert main(["compare", *SMALL, *options, "--output", str(folder)]) == 0
    assert "is at the edge of those tried (0.001, 0.01)" in capsys.readouterr().out
    found = yaml.safe_load((folder / "config.yaml").read_text())
    assert (found["command"], found["weightings"], found["method"]) == ("compare", ["EW"], None)
    (row,) = json.loads((folder / "comparison.json").read_text())
    assert row["rate_at_edge"]
    assert (folder / row["report"]).exists()
    page = folder / "comparison.html"
    assert "Best learning rate at the edge" in page.read_text()
    page.unlink()
    assert main(["report", str(folder)]) == 0
    assert page.exists()
    assert main(["evaluate", str(folder)]) == 2
    assert "found one of `moml compare`" in capsys.readouterr().err


COMPARE = ["compare", *SMALL, "--weightings", "[EW]", "--seeds", "[0]", "--tune", "none"]


def refused(capsys, *arguments):
    assert main(list(arguments)) == 2
    error = capsys.readouterr().err
    assert len(error.strip().splitlines()) == 1
    return error


@pytest.fixture
def compared(tmp_path, monkeypatch):
    """A comparison that stopped after it had begun its first run."""
    folder = tmp_path / "out"
    monkeypatch.setattr("moml.cli.compare.compare", lambda *_, **__: [])
    monkeypatch.setattr("moml.cli.compare._conclude", lambda *_: None)
    assert main([*COMPARE, "--output", str(folder)]) == 0
    (folder / "EW-lr0.001-seed0").mkdir()
    (folder / "EW-lr0.001-seed0" / "config.yaml").write_text("command: train\n")
    return folder


@pytest.mark.refused("a sweep would write over the options of another run")
@pytest.mark.parametrize("command", ["compare", "single"])
def test_a_sweep_into_the_folder_of_a_training_run(command, tmp_path, capsys):
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "config.yaml").write_text("command: train\nsteps: 4\n")
    arguments = [command, *SMALL, "--seeds", "[0]", "--output", str(folder)]
    error = refused(capsys, *arguments)
    assert f"or one of `moml {command}`, found one of `moml train` in" in error
    assert (folder / "config.yaml").read_text() == "command: train\nsteps: 4\n"


def test_a_sweep_into_a_folder_of_ones_own_files_is_refused(tmp_path, capsys):
    (tmp_path / "thesis.tex").write_text("\\documentclass{book}")
    error = refused(capsys, *COMPARE, "--output", str(tmp_path))
    assert "`output` should be a new or empty folder, or one of `moml compare`, found" in error
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


@pytest.mark.refused("the finished runs were made with other settings")
def test_a_comparison_is_continued_with_other_settings(compared, capsys):
    error = refused(capsys, *COMPARE, "--steps", "6", "--output", str(compared))
    assert f"`steps` should be that of the runs in '{compared}', 4, found 6." in error
    assert yaml.safe_load((compared / "config.yaml").read_text())["steps"] == 4


@pytest.mark.supported
def test_a_comparison_is_continued_with_more_weightings_and_seeds(compared):
    more = ["--weightings", "[EW, UW]", "--seeds", "[0, 1]", "--jobs", "2"]
    assert main([*COMPARE, *more, "--output", str(compared)]) == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--weightings", "[EW, EW]"], "label of its own for each entry, found 'EW' twice."),
        (
            ["--weightings", "[{class_path: EW, label: A}, {class_path: UW, label: A}]"],
            "label of its own for each entry, found 'A' twice.",
        ),
        (["--weightings", "[EW]", "--methods", "[{class_path: MOML, label: EW}]"], "in both."),
        (["--weightings", "[{clas_path: EW}]"], "found 'clas_path'. Did you mean 'class_path'?"),
        (["--weightings", "[{label: A}]"], "`weightings` should have a class_path in every entry"),
        (["--weightings", "[{class_path: EW, init_args: {power: 2}}]"], "`weighting.power`"),
        (["--weightings", "[tests.small_suite.Nothing]"], "no attribute 'Nothing'"),
        (["--seeds", "[1, 1]"], "`seeds` should be different ones, found [1, 1]."),
        (["--weighting", "UW"], "`weighting` should be left out of `moml compare`, found 'UW'."),
        (["--seed", "4"], "`seed` should be left out of `moml compare`, found '4'. Use `seeds`."),
    ],
)
def test_what_would_be_ignored_or_fail_later_is_refused_first(options, message, tmp_path, capsys):
    assert message in refused(capsys, *COMPARE, *options, "--output", str(tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_a_task_alone_has_no_weighting(tmp_path, capsys):
    arguments = ["single", *SMALL, "--weighting", "UW", "--output", str(tmp_path / "out")]
    assert "`weighting` should be left out of `moml single`" in refused(capsys, *arguments)


def test_a_label_is_no_way_out_of_the_folder():
    job = SweepRun("../a/b", {"learning_rate": 0.1, "seed": 0})
    assert job.folder == ".._a_b-lr0.1-seed0"


KILLED = """
import os, signal, time
from moml.jobs.sweep import workers

if __name__ == "__main__":
    with workers(1) as pool:
        print(pool.submit(os.getpid).result(), flush=True)
        pool.submit(time.sleep, 60)
        os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.supported
def test_a_killed_comparison_leaves_no_process_behind(tmp_path):
    script = tmp_path / "killed.py"
    script.write_text(KILLED)
    done = subprocess.run([sys.executable, str(script)], stdout=subprocess.PIPE, timeout=30)
    assert done.returncode == -signal.SIGKILL  # and nobody holds its output open
    assert int(done.stdout) > 0
