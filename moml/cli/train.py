"""``moml train``: one run, from options or a recipe to a run folder."""

from __future__ import annotations

from collections.abc import Sequence

from moml.cli.parser import train_parser
from moml.cli.run_command import RunCommand, print_selected

COMMAND = RunCommand(
    "train",
    train_parser,
    ("suite", "method", "weighting"),
    print_selected,
    further="steps",
)


def run(argv: Sequence[str]) -> int:
    """Train, or continue a run; return the exit status."""
    return COMMAND.run(argv)
