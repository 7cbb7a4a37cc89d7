"""The folder of many runs: new, or that of the same sweep, which is continued."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from moml.jobs.config import command_of, read_config
from moml.jobs.lock import NAME as LOCK

Labelled = Mapping[str, Mapping[str, Any]]
_SWEPT = ("weightings", "methods", "architectures", "seeds", "learning_rates", "tune", "jobs",
          "output", "references", "command", "weighting", "method", "seed", "config")  # fmt: skip


def check_folder(folder: Path, command: str, asked: Mapping[str, Any]) -> None:
    """Look at what a sweep would write over, or take for results of its own.

    More weightings, seeds and learning rates may be asked for than before; what all runs share has
    to be as it was.

    Args:
        folder: The folder asked for.
        command: The sweep's.
        asked: Its options as plain data.

    Raises:
        ValueError: If the folder holds something else, or runs with other settings.
    """
    if not folder.is_dir() or not any(path.name != LOCK for path in folder.iterdir()):
        return
    file = folder / "config.yaml"
    if not file.exists():
        raise ValueError(
            f"`output` should be a new or empty folder, or one of `moml {command}`, found "
            f"'{folder}' in use. Choose another."
        )
    if (found := command_of(file)) != command:
        raise ValueError(
            f"`output` should be a new folder, or one of `moml {command}`, found one of "
            f"`moml {found}` in '{folder}'. Choose another."
        )
    if not any(folder.rglob("*/config.yaml")):
        return  # it failed before its first run
    before = read_config(file)
    for name in (key for key in asked if key not in _SWEPT and key in before):
        if asked[name] != before[name]:
            raise ValueError(
                f"`{name}` should be that of the runs in '{folder}', {_short(before[name])}, "
                f"found {_short(asked[name])}. Choose another `output`."
            )
    _check_labels(folder, before, asked)


def _check_labels(folder: Path, before: Mapping[str, Any], asked: Mapping[str, Any]) -> None:
    """Refuse a label that stood for something else."""
    for kind in ("weightings", "methods", "architectures"):
        known = _labels(before.get(kind) or ())
        for label, entry in _labels(asked.get(kind) or ()).items():
            if known.get(label, entry) != entry:
                raise ValueError(
                    f"`{kind}` should mean by '{label}' what the runs in '{folder}' do, "
                    f"{known[label]}, found {entry}. Choose another label, or another `output`."
                )


def _labels(entries: Any) -> dict[str, Any]:
    return {e["label"]: e for e in entries if isinstance(e, Mapping) and "label" in e}


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 120 else f"{text[:117]}…"
