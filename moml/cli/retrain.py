"""``moml retrain GENOTYPE``: one architecture from scratch, clean or adversarial, and attacked."""

from __future__ import annotations

from collections.abc import Sequence

from moml.jobs.commands.retrain import COMMAND


def run(argv: Sequence[str]) -> int:
    """Retrain, or continue; return the exit status."""
    if argv and not argv[0].startswith("-"):  # the genotype may come first
        argv = [f"--genotype={argv[0]}", *argv[1:]]
    return COMMAND.run(argv)
