import io
import re

import pytest
import torch
from rich.console import Console

from moml.logging import Progress
from moml.logging.progress import interval
from moml.loop import fit
from moml.oracle import Direct
from moml.weighting import MGDA

EVAL = {
    "kind": "eval", "split": "val", "step": 30, "score": 0.5, "best": True,
    "metrics": {"up": {"accuracy": 0.75}},
}  # fmt: skip


def shown(problem, batches, *, steps=60, width=80, terminal=False):
    file = io.StringIO()
    console = Console(file=file, width=width, force_terminal=terminal)
    optimizer = torch.optim.SGD(problem.module.parameters(), lr=0.01)
    progress = Progress(console=console)
    fit(problem, Direct(), MGDA(), optimizer, batches, steps=steps, callbacks=[progress])
    progress.write(EVAL)
    return file.getvalue()


def test_plain_output_is_a_short_aligned_table(pull, batches):
    *lines, last = shown(pull(), batches).splitlines()
    assert lines[0].split() == ["step", "up", "down", "w", "up", "w", "down", "step/s", "to", "go"]
    assert 10 <= len(lines) <= 21
    assert len({len(line) for line in lines}) == 1
    assert lines[-1].split()[0] == "60"
    assert lines[-1].endswith("0:00")
    assert all("\x1b" not in line and len(line) <= 80 for line in lines)
    assert last == "    30  val  score 0.5 (best)  up accuracy 0.75"


def test_plain_output_of_many_tasks_fits_the_width(pull, batches):
    lines = shown(pull(), batches, width=45).splitlines()
    assert "w up" not in lines[0]
    lines = shown(pull(), batches, width=40).splitlines()
    assert "mean loss" in lines[0]
    assert "largest" in lines[0]
    assert re.search(r"\d (up|down) ", lines[1])


def test_the_bar_shows_steps_and_numbers_and_gives_the_cursor_back(pull, batches):
    text = shown(pull(), batches, terminal=True)
    plain = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", text)
    assert "60/60" in plain
    assert re.search(r"loss  up [\d.]+  down [\d.]+   weight  up", plain)
    assert text.rindex("\x1b[?25h") > text.rindex("\x1b[?25l")


@pytest.mark.parametrize("steps", [1, 7, 60, 400, 1000, 1500, 123_456])
def test_intervals_are_round_and_few(steps):
    every = interval(steps, most=20)
    assert -(-steps // every) <= 20
    assert str(every).rstrip("0") in {"1", "2", "5"}
    assert every == 1 or -(-steps // every) >= 8


@pytest.mark.parametrize(("terminal", "whole"), [(False, True), (True, False)])
def test_a_result_is_cut_on_a_terminal_but_not_in_a_file(terminal, whole):
    file = io.StringIO()
    many = {f"task number {i}": {"accuracy": 0.75} for i in range(9)}
    progress = Progress(console=Console(file=file, width=80, force_terminal=terminal))
    progress.write({**EVAL, "metrics": many})
    assert ("task number 8 accuracy 0.75" in file.getvalue()) is whole
    assert len(file.getvalue().splitlines()) == 1
