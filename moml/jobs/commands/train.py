"""The command behind ``moml train``: one run, from options to a run folder."""

from __future__ import annotations

from moml.jobs.config import train_parser
from moml.jobs.start import RunCommand, print_selected

COMMAND = RunCommand(
    "train",
    train_parser,
    ("suite", "method", "weighting"),
    print_selected,
    further="steps",
)
