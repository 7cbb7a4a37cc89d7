"""Where a run was started: what its relative paths and its classes are looked up from."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator, Mapping, MutableMapping
from pathlib import Path
from typing import Any

from jsonargparse import Namespace

from moml._support.files import read_json, versions

_log = logging.getLogger("moml")
_KEY = "directory"


def record() -> dict[str, str]:
    """Versions that results depend on, and the folder that the run is started in."""
    return {**versions(), _KEY: os.getcwd()}


def origin(folder: Path) -> Path | None:
    """The folder that a run was started in, if it is another than this one and still there.

    Classes in it can be imported from then on.

    Args:
        folder: The run folder.
    """
    file = folder / "versions.json"
    known = read_json(file).get(_KEY) if file.exists() else None
    if known is None or not os.path.isdir(known) or os.path.samefile(known, os.getcwd()):
        return None
    if known not in sys.path:
        sys.path.append(known)
    return Path(known)


def look_up(settings: Any, start: Path | None) -> None:
    """Replace relative paths by those in the folder that the run was started in, if they are there.

    Args:
        settings: Options with their values, nested; changed in place.
        start: What `origin` found.
    """
    if start is None:
        return
    for holder, key, path in _paths(settings):
        if not path.is_absolute() and (start / path).exists():
            holder[key] = start / path
            _log.info("`%s` is '%s', as where the run was started.", key, start / path)


def _paths(settings: Any) -> Iterator[tuple[MutableMapping[str, Any], str, Path]]:
    """All options that are declared as paths, with what holds them."""
    holder = settings if isinstance(settings, Mapping) else vars(settings)
    for key, value in list(holder.items()):
        if isinstance(value, Path):
            yield holder, key, value  # type: ignore[misc]
        elif isinstance(value, Mapping | Namespace):
            yield from _paths(value)
