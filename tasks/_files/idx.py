"""MNIST's file format: a magic number, sizes, bytes; plain or compressed."""

from __future__ import annotations

import gzip
import zlib
from math import prod
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from tasks._files.arrays import reason


def read_idx(path: Path, *, dims: int) -> Tensor:
    """Bytes with as many dimensions as expected.

    Args:
        path: The file, ``.gz`` or not.
        dims: 3 for images, 1 for labels.

    Raises:
        ValueError: If the file is of another kind, or cut short.
    """
    try:
        raw = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(
            f"`root` should hold whole files, found '{path}': {reason(error)}."
        ) from error
    magic = 0x800 + dims  # bytes, so many dimensions: 2051 for images, 2049 for labels
    found = int.from_bytes(raw[:4], "big")
    if found != magic:
        raise ValueError(f"'{path}' should start with the number {magic}, found {found}.")
    header = 4 * (1 + dims)
    shape = [int.from_bytes(raw[4 * i : 4 * i + 4], "big") for i in range(1, 1 + dims)]
    if len(raw) != header + prod(shape):
        raise ValueError(
            f"'{path}' should be of {header + prod(shape)} bytes as it says itself, "
            f"found {len(raw)}."
        )
    return torch.from_numpy(np.frombuffer(raw, np.uint8, offset=header).reshape(shape).copy())
