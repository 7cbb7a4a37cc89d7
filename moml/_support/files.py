"""Small files of a run folder."""

from __future__ import annotations

import json
import platform
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import moml


def write_json(path: Path, content: Mapping[str, Any] | Sequence[Any]) -> None:
    """Write JSON by way of a temporary file."""
    write_text(path, json.dumps(content, indent=2) + "\n")


def read_json(path: Path) -> Any:
    """The content of a JSON file.

    Raises:
        ValueError: If it cannot be read, or is none; names the file.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ValueError(f"'{path}' should be a readable file, found: {error.strerror}.") from error
    except ValueError as error:
        raise ValueError(
            f"'{path}' should hold JSON, found that it is damaged: {error}."
        ) from error


def write_text(path: Path, content: str) -> None:
    """Write text by way of a temporary file."""
    temporary = path.with_name(path.name + ".part")
    with naming(path):
        try:
            temporary.write_text(content, encoding="utf-8")
            temporary.replace(path)
        except OSError:
            temporary.unlink(missing_ok=True)
            raise


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Let an error of the system say which file could not be written."""
    try:
        yield
    except OSError as error:
        if error.filename is None:
            error.filename = str(path)
        raise


def versions() -> dict[str, str]:
    """Versions that results depend on."""
    import numpy
    import scipy
    import torch

    return {
        "moml": moml.__version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": numpy.__version__,
        "scipy": scipy.__version__,
        "platform": f"{sys.platform} {platform.machine()}",
    }
