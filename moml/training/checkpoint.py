"""Atomic checkpoints of tensors and plain data, of which the last two are kept."""

from __future__ import annotations

import os
import pickle
import shutil
import time
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import torch

from moml._support import checks
from moml.errors import CheckpointError

__all__ = ["Checkpoint"]

_FORMAT = "moml checkpoint 2"


class Checkpoint:
    """Where and how often a run is saved.

    A save writes a temporary file, flushes it to the disk and renames it, after the last save was
    renamed to the previous one: whenever the process dies, one complete checkpoint is there.

    Args:
        folder: Created if missing.
        every: Save every so many steps, besides the end of the run.
        resume: Continue from the folder's checkpoint if there is one.
        writes: Read and save; off in all but the first of several processes that train together.

    Raises:
        ValueError: If the folder holds a checkpoint and ``resume`` is false, or is not writable.
    """

    def __init__(
        self, folder: str | Path, *, every: int = 100, resume: bool = False, writes: bool = True
    ) -> None:
        self.folder = Path(checks.instance("folder", folder, (str, Path), "a path"))
        self.every = checks.whole("every", every, least=1)
        self.writes = checks.flag("writes", writes)
        checks.flag("resume", resume)
        self._spent, self._since = 0.0, time.process_time()
        if not writes:
            return
        make_folder(self.folder)
        if not resume and self.found:
            raise ValueError(
                f"`folder` should hold no checkpoint, found one in '{self.folder}'. "
                "Use `resume=True` to continue it, or another folder."
            )

    @property
    def last(self) -> Path:
        """The newest checkpoint."""
        return self.folder / "last.pt"

    @property
    def previous(self) -> Path:
        """The one before."""
        return self.folder / "previous.pt"

    @property
    def cpu_seconds(self) -> float:
        """CPU time of all processes that brought the run where it is."""
        return self._spent + time.process_time() - self._since

    @property
    def found(self) -> bool:
        """Whether something has been saved."""
        return self.last.exists() or self.previous.exists()

    def save(self, state: Mapping[str, Any]) -> None:
        """Store a state made of tensors and plain data, unless another process does."""
        if not self.writes:
            return
        temporary = self.folder / "last.pt.tmp"
        write_atomically({**state, "cpu_seconds": self.cpu_seconds}, temporary)
        if self.last.exists():
            os.replace(self.last, self.previous)
        os.replace(temporary, self.last)
        _flush_folder(self.folder)

    def load(self) -> dict[str, Any] | None:
        """The newest readable state, or ``None`` if nothing was saved yet.

        A damaged last checkpoint is reported in a warning and the previous one is used.

        Raises:
            CheckpointError: If there are checkpoints but none can be read.
        """
        if not self.writes:
            return None
        problem: CheckpointError | None = None
        for path in (self.last, self.previous):
            if not path.exists():
                continue
            try:
                state = read_state(path)
            except CheckpointError as error:
                problem = problem or error
                continue
            if problem is not None:
                warnings.warn(f"{problem} Continuing from '{path.name}'.", stacklevel=2)
            self._spent, self._since = state.get("cpu_seconds", 0.0), time.process_time()
            return state
        if problem is not None:
            raise problem
        return None


def write_atomically(state: Mapping[str, Any], path: Path) -> None:
    """Write a state to ``path`` by way of a temporary file that reaches the disk first.

    Raises:
        OSError: If that is not possible, as on a full disk; the old file stays.
    """
    temporary = path.with_name(path.name + ".part")
    try:
        with open(temporary, "wb") as file:
            torch.save({"format": _FORMAT, **state}, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except (OSError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and "inline_container" not in str(error):
            raise  # no matter of files
        reason = getattr(error, "strerror", None) or "it could not be finished"
        free = shutil.disk_usage(path.parent).free / 1e6
        temporary.unlink(missing_ok=True)
        raise OSError(
            f"'{path}' should be writable, found: {reason} ({free:.3g} MB free). What was there "
            "before is kept."
        ) from error


def read_state(path: Path, *, map_location: str = "cpu") -> dict[str, Any]:
    """Read a state; only tensors and plain data are ever loaded.

    Raises:
        CheckpointError: If the file is truncated, not a checkpoint, or of another format.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about foreign files: the error below says it better
            state = torch.load(path, map_location=map_location, weights_only=True)
    except (RuntimeError, EOFError, BadZipFile, pickle.UnpicklingError, ValueError, KeyError) as e:
        raise CheckpointError(
            f"`{path.name}` should be a complete moml checkpoint, found a truncated or foreign "
            f"file in '{path.parent}'."
        ) from e
    if not isinstance(state, dict) or state.get("format") != _FORMAT:
        raise CheckpointError(
            f"`{path.name}` should have format '{_FORMAT}', found {_other(state)} in "
            f"'{path.parent}'."
        )
    return state


def _other(state: Any) -> str:
    """Words for a file that is no checkpoint of this version."""
    found = state.get("format") if isinstance(state, dict) else None
    return "another file" if found is None else f"'{found}', of another version of moml,"


def make_folder(folder: Path) -> None:
    """Create a folder and make sure that files can be written to it.

    Raises:
        ValueError: If that is not possible.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / ".writable"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise ValueError(
            f"'{folder}' should be a writable folder, found: {error.strerror}. Choose another."
        ) from error


def _flush_folder(folder: Path) -> None:
    """Make the renames durable, where the platform can."""
    if os.name != "posix":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
