"""Any error that ends a command, in one sentence."""

from __future__ import annotations

import os
import traceback
from pathlib import Path

TRACEBACK = "MOML_TRACEBACK"
_PLACES = {  # function of this package, in which an error is about what it was given
    "features": "the encoder",
    "decode": "a head",
    "evaluate": "evaluation",
    "sources": "the suite's `sources`",
    "encoder": "the suite's `encoder`",
    "head": "the suite's `head`",
}


def sentence(error: BaseException) -> str:
    """Say what went wrong, where it happened, and how to see more.

    Errors made for users are sentences already; of others only the first line is kept.

    Args:
        error: What a command raised.
    """
    if isinstance(error, OSError) and error.strerror:
        place = "" if error.filename is None else f"'{error.filename}': "
        return f"{place}{error.strerror}."
    if isinstance(error, ValueError | OSError) and not _of_others(error):
        return str(error)
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    said = lines[0].rstrip(".") if lines else "no reason given"
    return f"{type(error).__name__}{_where(error)}: {said}. {TRACEBACK}=1 shows where."


def wanted() -> bool:
    """Whether tracebacks are to be shown instead."""
    return os.environ.get(TRACEBACK, "") not in ("", "0")


def _of_others(error: BaseException) -> bool:
    """Tell an error raised in another package, whose message does not speak of options."""
    frames = traceback.extract_tb(error.__traceback__)
    return bool(frames) and "site-packages" in Path(frames[-1].filename).parts


def _where(error: BaseException) -> str:
    """The line nearest to the error that is not of another package."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [f for f in frames if "site-packages" not in Path(f.filename).parts and "<" not in f.name]
    if not own:
        return ""
    part = next((_PLACES[f.name] for f in reversed(own) if f.name in _PLACES), "")
    line = f"{Path(own[-1].filename).name}, line {own[-1].lineno}"
    return f" in {part} ({line})" if part else f" in {line}"
