"""Numpy files, mapped into memory, never unpickled."""

from __future__ import annotations

from pathlib import Path

import numpy as np


def read_array(path: Path, *, shape: tuple[int | None, ...] | None = None) -> np.ndarray:
    """The array of a ``.npy`` file, mapped: bytes are read when they are looked at.

    Args:
        path: The file.
        shape: What it should have; ``None`` stands for any length.

    Raises:
        ValueError: If the file is cut short, holds Python objects, or has another shape.
    """
    try:
        array: np.ndarray = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, EOFError, ValueError) as error:
        raise ValueError(
            f"`root` should hold whole .npy files, found '{path}': {reason(error)}."
        ) from error
    if shape is not None and not _fits(array.shape, shape):
        expected = "x".join("*" if n is None else str(n) for n in shape)
        found = "x".join(map(str, array.shape)) or "a single number"
        raise ValueError(f"'{path}' should be of shape {expected}, found {found}.")
    return array


def reason(error: Exception) -> str:
    """An error's own words, as the end of a sentence."""
    return " ".join(str(error).split()).rstrip(".") or type(error).__name__


def _fits(found: tuple[int, ...], expected: tuple[int | None, ...]) -> bool:
    return len(found) == len(expected) and all(
        e in (None, n) for n, e in zip(found, expected, strict=True)
    )
