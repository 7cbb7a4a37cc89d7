"""One JSON object a line: the record of a run that every table and picture is made from."""

from __future__ import annotations

import json
import math
import os
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from moml._support.files import naming
from moml.logging._base import PeriodicLog
from moml.training.callback import Training


class MetricsLog(PeriodicLog):
    """Writes ``metrics.jsonl``: means over every few steps, and what `write` is given.

    The file holds no times, so that the same seed gives the same bytes. A resumed run cuts it back
    to where the checkpoint was taken: no line is lost or doubled. Where lines have been lost, it
    says so in a warning and goes on behind those that are left. Numbers that are not finite become
    ``null``.

    Args:
        path: The file; a fresh run starts it anew.
        every: Number of steps between train lines.
    """

    def __init__(self, path: str | Path, *, every: int) -> None:
        super().__init__(every=every)
        self.path = Path(path)
        self._offset: int | None = None  # where a resumed run goes on

    def start(self, training: Training) -> None:
        """Make the file ready: empty for a fresh run, cut to the checkpoint for a resumed one."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        length = self._offset
        if length is None:
            length = _end_of_lines(self.path) if training.step else 0
        with self.path.open("ab") as file:
            if (found := file.tell()) < length:
                warnings.warn(
                    f"`path` should hold {length} bytes as at the checkpoint, found {found} in "
                    f"'{self.path}'. Continuing after step {training.step} without the lines "
                    "that are missing.",
                    stacklevel=2,
                )
                length = _end_of_lines(self.path)
            file.truncate(length)
        self._offset = None

    def write(self, record: Mapping[str, Any]) -> None:
        """Append one line."""
        line = json.dumps(_finite(record), ensure_ascii=False, allow_nan=False)
        with naming(self.path), self.path.open("ab") as file:
            file.write(line.encode() + b"\n")

    def state_dict(self) -> dict[str, Any]:
        """Length of the file, which is on the disk by then, and the sums since its last line."""
        with self.path.open("ab") as file:
            os.fsync(file.fileno())
            return {**super().state_dict(), "offset": file.tell()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from a stored length."""
        super().load_state_dict(state)
        self._offset = int(state["offset"])


def _end_of_lines(path: Path) -> int:
    """Length of the complete lines of a file, zero if there is none."""
    return path.read_bytes().rfind(b"\n") + 1 if path.exists() else 0


def _finite(value: Any) -> Any:
    """The same data with ``None`` for numbers that JSON cannot hold."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _finite(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(entry) for entry in value]
    return value
