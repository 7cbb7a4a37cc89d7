"""Pickles of numpy arrays, read without executing anything.

A pickle is a program: what it calls is up to whoever wrote it. Here it may call the few
functions that put arrays together, each in a version of ours that does no more.
"""

from __future__ import annotations

import io
import pickle
from collections import OrderedDict
from pathlib import Path
from typing import IO, Any

import numpy as np

from tasks._files.arrays import reason


def read_pickle(file: Path | IO[bytes], name: str = "") -> dict[str, Any]:
    """The dictionary in a pickle of Python 2 or 3.

    Args:
        file: Path or open file.
        name: How errors name an open file.

    Raises:
        ValueError: If it asks for anything but arrays, is cut short, or holds no dictionary.
    """
    name = name or str(file)
    try:
        content = _Arrays(io.BytesIO(file.read_bytes()) if isinstance(file, Path) else file).load()
    except _NotAnArrayError as error:
        raise ValueError(
            f"'{name}' should be a pickle of arrays, found one that asks for {error}. "
            "It was not executed."
        ) from error
    except Exception as error:  # damaged pickles raise whatever their bytes happen to mean
        raise ValueError(
            f"'{name}' should be a whole pickle of arrays, found a damaged one: {reason(error)}."
        ) from error
    if not isinstance(content, dict):
        raise ValueError(f"'{name}' should hold a dictionary, found {type(content).__name__}.")
    return {key.decode() if isinstance(key, bytes) else key: v for key, v in content.items()}


class _NotAnArrayError(Exception):
    """The name that a pickle asks for."""


class _Arrays(pickle.Unpickler):
    """Admits what arrays are made of; strings of Python 2 are bytes, one to one."""

    def __init__(self, file: IO[bytes]) -> None:
        super().__init__(file, encoding="latin1")

    def find_class(self, module: str, name: str) -> Any:
        module = module.replace("numpy._core", "numpy.core")
        try:
            return _ADMITTED[module, name]
        except KeyError:
            raise _NotAnArrayError(f"{module}.{name}") from None

    def persistent_load(self, pid: Any) -> Any:
        raise _NotAnArrayError("an object outside the file")


class _Kind:
    """Stands for the class of arrays; it cannot be called."""


def _blank(kind: object, shape: tuple[int, ...], code: object) -> np.ndarray:
    """An empty array, which the pickle then gives a state; the only way one comes into being."""
    if kind is not _Kind:
        raise _NotAnArrayError("an array of a class of its own")
    return np.empty(0, np.uint8)


def _bytes(text: str, encoding: str) -> bytes:
    """Bytes as Python 3 writes them for Python 2."""
    if encoding != "latin1":
        raise _NotAnArrayError(f"the encoding {encoding}")
    return text.encode("latin1")


def _number(kind: np.dtype, data: bytes) -> Any:
    """A single number of numpy's."""
    return np.frombuffer(data, kind)[0].item()


def _from_bytes(data: bytes, kind: np.dtype, shape: tuple[int, ...], order: str) -> np.ndarray:
    """An array as the latest protocol writes it."""
    assert order in ("C", "F")
    return np.frombuffer(data, kind).reshape(shape, order="C" if order == "C" else "F")


_ADMITTED: dict[tuple[str, str], Any] = {
    ("numpy.core.multiarray", "_reconstruct"): _blank,
    ("numpy.core.multiarray", "scalar"): _number,
    ("numpy.core.numeric", "_frombuffer"): _from_bytes,
    ("numpy", "ndarray"): _Kind,
    ("numpy", "dtype"): np.dtype,
    ("_codecs", "encode"): _bytes,
    ("collections", "OrderedDict"): OrderedDict,
}
