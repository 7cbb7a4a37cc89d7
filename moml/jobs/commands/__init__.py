"""Commands whose runs have folders; each knows its options, and how a run of it is continued."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from moml._support.hints import hint

if TYPE_CHECKING:
    from moml.jobs.start import RunCommand

NAMES = ("meta", "retrain", "search", "train")


def command(name: str) -> RunCommand:
    """A command by its name.

    Raises:
        ValueError: If there is none of this name.
    """
    if name not in NAMES:
        raise ValueError(
            f"`command` should be among {', '.join(NAMES)}, found {name!r}.{hint(str(name), NAMES)}"
        )
    found: RunCommand = import_module(f"moml.jobs.commands.{name}").COMMAND
    return found
