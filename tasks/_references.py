"""Single-task results of the literature, as files beside this one."""

from __future__ import annotations

from pathlib import Path

FOLDER = Path(__file__).parent / "references"


def references(suite: str) -> dict[str, Path]:
    """Name to file of every published reference of a suite: ``references/<suite>-<name>.yaml``."""
    files = sorted(FOLDER.glob(f"{suite}-*.yaml"))
    return {path.stem.removeprefix(f"{suite}-"): path for path in files}
