"""The runs of the command line, from Python."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from moml._support import checks
from moml.jobs.commands import command as command_of_name
from moml.jobs.job import Results


def run(
    command: str, folder: str | Path, *, resume: bool = False, quiet: bool = True, **options: Any
) -> Results:
    """Train in a run folder, exactly as the command line does.

    Options and their defaults are those of the command; the folder is the same, so that
    `moml.load_run`, ``moml report`` and ``--resume`` work on it.

    Args:
        command: ``"train"``, ``"meta"``, ``"search"`` or ``"retrain"``.
        folder: A new folder, or the run to continue.
        resume: Continue the run in the folder; of options only the one that makes it longer
            applies.
        quiet: Print nothing.
        **options: Plain values. A class is its name, its class path, the class itself, or
            ``{"class_path": ..., "init_args": {...}}``; options of a class may also be given by
            their dotted names, as in ``**{"suite.size": [16, 24]}``.

    Returns:
        The results, as in ``results.json``; with key ``"stopped"`` if a signal came.

    Raises:
        ValueError: If an option or the folder cannot be used.

    Example:
        >>> import moml, tempfile
        >>> folder = tempfile.mkdtemp() + "/run"
        >>> found = moml.run("train", folder, suite="TwoDigits", weighting="MGDA", steps=2)
        >>> found["weighting"], found["steps"]
        ('MGDA', 2)
    """
    checks.instance("folder", folder, (str, Path), "a folder")
    made = command_of_name(command)
    argv = [f"--{name}={_text(name, value)}" for name, value in options.items()]
    if resume:
        return made.resume(Path(folder), argv, quiet=quiet)
    return made.start(argv, Path(folder), quiet=quiet)


def _text(name: str, value: Any) -> str:
    """An option's value, as it would be typed."""
    plain = _plain(name, value)
    return plain if isinstance(plain, str) else json.dumps(plain)


def _plain(name: str, value: Any) -> Any:
    if isinstance(value, type):
        return f"{value.__module__}.{value.__qualname__}"
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, Mapping):
        return {key: _plain(name, one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(name, one) for one in value]
    if value is None or isinstance(value, str | bool | int | float):
        return value
    raise ValueError(
        f"`{name}` should be a plain value, the name of a class or a class, found an object of "
        f"type {type(value).__name__}. Write `{{'class_path': ..., 'init_args': {{...}}}}`: the "
        "run folder says how it was made."
    )
