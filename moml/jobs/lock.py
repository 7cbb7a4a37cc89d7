"""One process at a time in a run folder."""

from __future__ import annotations

import os
import platform
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from moml.training.checkpoint import make_folder

try:
    import fcntl
except ImportError:  # not on every platform
    fcntl = None  # type: ignore[assignment]

NAME = ".lock"
_held: dict[Path, int] = {}  # by this process: which thread


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keep a folder to this thread; made if missing.

    The lock belongs to the open file, so that the system takes it back from a process that dies:
    a file that one has left behind locks nobody out. It may be taken again within itself.

    Args:
        folder: The run folder.

    Raises:
        ValueError: If another process or thread works in the folder.
    """
    make_folder(folder)
    path = folder.resolve() / NAME
    if _held.get(path) == threading.get_ident():
        yield
        return
    file = _acquired(path, folder)
    _held[path] = threading.get_ident()
    try:
        yield
    finally:
        del _held[path]
        path.unlink(missing_ok=True)  # while it is locked: `_acquired` looks whether it is there
        file.close()


def _acquired(path: Path, folder: Path) -> IO[str]:
    """The lock file, open and locked, with the name of its holder in it."""
    while True:
        file = open(path, "a+")  # noqa: SIM115 - stays open while the lock is held
        if path in _held or not _lock(file):
            file.seek(0)
            holder = file.read().strip() or "another process"
            file.close()
            raise ValueError(
                f"'{folder}' should be worked on by one process at a time, found {holder} at it. "
                "Wait until it is done, or stop it."
            )
        if _still_there(file, path):
            break
        file.close()
    with suppress(OSError):  # a full disk: the lock holds without a name in it
        file.truncate(0)
        os.write(file.fileno(), f"process {os.getpid()} on {platform.node()}\n".encode())
    return file


def _lock(file: IO[str]) -> bool:
    """Lock a file unless another process has; file systems without locks lock nobody out."""
    if fcntl is None:
        return True
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True


def _still_there(file: IO[str], path: Path) -> bool:
    """Tell a lock from one that its holder has removed since it was opened."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False
