"""Reading what `MetricsLog` wrote, also while a run is still writing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def read_metrics(path: str | Path) -> list[dict[str, Any]]:
    """The records of a ``metrics.jsonl``; a last line that is cut off is left out.

    Args:
        path: The file, or the run folder that holds it.

    Raises:
        ValueError: If there is no such file, or a line before the last is not a JSON object.
    """
    path = Path(path)
    if path.is_dir():
        path = path / "metrics.jsonl"
    if not path.is_file():
        raise ValueError(
            f"`path` should be a metrics.jsonl, found nothing at '{path}'. "
            "Give a run folder that `moml train` has written."
        )
    lines = path.read_bytes().splitlines()
    records = []
    for number, line in enumerate(lines, start=1):
        try:
            record = json.loads(line)
            if not isinstance(record, dict):
                raise ValueError
        except ValueError:
            if number == len(lines):
                break
            raise ValueError(
                f"`path` should hold one JSON object a line, found something else in line {number} "
                f"of '{path}'."
            ) from None
        records.append(record)
    return records
