"""Grids of learning rates, and what comparing needs at least."""

import json

import pytest
import yaml

from moml.__main__ import main
from moml.cli._sweep_options import around
from moml.sweep import at_edge

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
