"""Run folders of earlier versions: refused as a whole, never half understood."""

from __future__ import annotations

from pathlib import Path

from moml._support.files import read_json

OLDEST = (0, 2)
"""The first version whose run folders can be read."""


def check_version(folder: Path) -> None:
    """Refuse the run folder of an earlier version.

    Raises:
        ValueError: If the folder says that such a version wrote it.
    """
    file = folder / "versions.json"
    if not file.exists():
        return
    found = str(read_json(file).get("moml", ""))
    numbers = tuple(int(part) for part in found.split(".")[:2] if part.isdigit())
    if len(numbers) == 2 and numbers < OLDEST:
        raise ValueError(
            f"'{folder}' should be a run of moml {'.'.join(map(str, OLDEST))} or later, found one "
            f"of moml {found}, whose classes had other names. Train it again, or use that version."
        )
