"""``moml search``: one architecture search, from options to a run folder with a front."""

from __future__ import annotations

from collections.abc import Sequence

from moml.jobs.commands.search import COMMAND


def run(argv: Sequence[str]) -> int:
    """Search, or continue a search; return the exit status."""
    return COMMAND.run(argv)
