"""CIFAR-10 and CIFAR-100 as published for Python: pickled batches, in a folder or a tar file.

A. Krizhevsky, "Learning multiple layers of features from tiny images", 2009.
"""

from __future__ import annotations

import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from moml.data import Batch, Source, TensorSource
from tasks._files.layout import Found, Layout, find
from tasks._files.pickles import read_pickle

SIDE, MARGIN = 32, 4


def find_cifar(suite: str, root: Path, folder: str, files: tuple[str, ...], archive: str) -> Found:
    """The layout: the published folder, or the published ``.tar.gz``.

    Raises:
        ValueError: If there is neither: what is missing.
    """
    layouts = [Layout("pickled batches", files, inside=(folder,)), Layout("tar file", (archive,))]
    return find(suite, root, layouts)


def read_cifar(
    found: Found, folder: str, archive: str, file: str, labels: tuple[str, ...]
) -> tuple[Tensor, dict[str, Tensor]]:
    """Pictures ``(N, 3, 32, 32)`` as bytes, and classes ``(N,)`` by name.

    Raises:
        ValueError: If the file is damaged or not one of CIFAR's.
    """
    content = _content(found, folder, archive, file)
    data = content.get("data")
    if not isinstance(data, np.ndarray) or data.dtype != np.uint8 or data.shape[1:] != (3072,):
        kind = f"{data.dtype} {data.shape}" if isinstance(data, np.ndarray) else type(data).__name__
        raise ValueError(f"'{file}' should hold `data` of bytes, N x 3072, found {kind}.")
    images = torch.from_numpy(np.array(data)).reshape(-1, 3, SIDE, SIDE)
    return images, {name: _labels(content, name, len(images), file) for name in labels}


def _content(found: Found, folder: str, archive: str, file: str) -> dict[str, Any]:
    if found.layout != "tar file":
        return read_pickle(found.folder / file)
    try:
        with tarfile.open(found.folder / archive) as packed:  # read in memory, never unpacked
            member = packed.extractfile(f"{folder}/{file}")
            if member is None:
                raise KeyError("not a file")
            return read_pickle(member, f"{archive}/{file}")
    except (tarfile.TarError, KeyError, EOFError, OSError) as error:
        raise ValueError(
            f"'{found.folder / archive}' should be the whole published archive, found no "
            f"'{folder}/{file}' in it that can be read."
        ) from error


def _labels(content: dict[str, Any], name: str, count: int, file: str) -> Tensor:
    values = np.asarray(content.get(name, ()))
    if values.shape != (count,) or not np.issubdtype(values.dtype, np.integer):
        raise ValueError(
            f"'{file}' should hold {count} integers as `{name}`, found {len(values.ravel())} "
            f"of {values.dtype}."
        )
    return torch.from_numpy(values.astype(np.int64))


class CifarSource(Source):
    """Pictures kept as bytes; in training each is moved by up to four pixels, or mirrored.

    That is the augmentation of K. He et al., "Deep residual learning", CVPR 2016.

    Args:
        images: ``(N, 3, 32, 32)`` bytes.
        targets: ``(N,)`` per task.
        augment: Whether views differ from the pictures.
    """

    def __init__(self, images: Tensor, targets: dict[str, Tensor], *, augment: bool) -> None:
        self.samples, self.augment = TensorSource(images, targets), augment

    def __len__(self) -> int:
        return len(self.samples)

    def batch(self, indices: Tensor) -> Batch:
        """Pictures in [0, 1]."""
        batch = self.samples.batch(indices)
        assert isinstance(batch.inputs, Tensor)
        return Batch(batch.inputs.float() / 255, batch.targets)

    def view(self, indices: Tensor, generator: torch.Generator) -> Batch:
        """The same, moved and mirrored at random."""
        batch = self.batch(indices)
        if not self.augment:
            return batch
        assert isinstance(batch.inputs, Tensor)
        padded = functional.pad(batch.inputs, [MARGIN] * 4)
        count = len(indices)
        corner = torch.randint(2 * MARGIN + 1, (2, count, 1), generator=generator)
        rows, columns = corner + torch.arange(SIDE)  # (B, 32) each
        mirror = torch.randint(2, (count, 1), generator=generator) == 1
        columns = torch.where(mirror, columns.flip(1), columns)
        picture = torch.arange(count)[:, None, None]
        moved = padded[picture, :, rows[:, :, None], columns[:, None, :]]  # (B, 32, 32, 3)
        return Batch(moved.permute(0, 3, 1, 2).contiguous(), batch.targets)
