"""``moml train``: one run, from options or a recipe to a run folder."""

from __future__ import annotations

from collections.abc import Sequence

from moml.jobs.commands.train import COMMAND


def run(argv: Sequence[str]) -> int:
    """Train, or continue a run; return the exit status."""
    return COMMAND.run(argv)
