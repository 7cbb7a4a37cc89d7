"""``moml meta``: one few-shot run, from options or a recipe to a run folder."""

from __future__ import annotations

from collections.abc import Sequence

from moml.jobs.commands.meta import COMMAND


def run(argv: Sequence[str]) -> int:
    """Meta-train, or continue a run; return the exit status."""
    return COMMAND.run(argv)
