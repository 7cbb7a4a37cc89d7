"""The folder of an attack: new, or that of the same attack, which is continued."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from moml.jobs.config import Parser, read_config
from moml.jobs.lock import NAME as LOCK


def settings_of(parser: Parser, options: Any) -> dict[str, Any]:
    """The command and its options as plain data."""
    plain: dict[str, Any] = yaml.safe_load(parser.dump(options, skip_unset=False))
    plain.pop("output", None)  # the folder they stand in
    return {"command": "attack", **plain}


def check_folder(folder: Path, settings: Mapping[str, Any]) -> None:
    """Look at what an attack would write over, or go on from.

    Raises:
        ValueError: If the folder holds something else than a part of the same attack.
    """
    if not folder.is_dir() or not any(path.name != LOCK for path in folder.iterdir()):
        return
    file = folder / "config.yaml"
    if (folder / "attack.json").exists() or not file.exists():
        raise ValueError(f"`output` should be a new folder, found '{folder}' in use.")
    before = read_config(file)
    for name, value in settings.items():
        if before.get(name) != value:
            raise ValueError(
                f"`output` should be a new folder, or that of the same attack, found '{folder}', "
                f"where `{name}` is {before.get(name)!r}, not {value!r}."
            )
