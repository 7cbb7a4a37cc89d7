"""The layout of MTAN's preprocessed scenes: one numpy file per scene and kind of map.

``ROOT/{train,val}/{image,label,depth,normal}/{i}.npy``; what is called ``val`` there is the test
split of every paper. S. Liu, E. Johns, A. Davison, CVPR 2019.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from tasks._files.arrays import read_array
from tasks._files.layout import complete


def stems(suite: str, folder: Path, kinds: tuple[str, ...]) -> list[str]:
    """Names of a split's scenes, in the order of their numbers.

    Raises:
        ValueError: If a scene lacks one of its maps.
    """
    names = sorted((path.stem for path in (folder / "image").glob("*.npy")), key=_number)
    promised = [f"{kind}/{name}.npy" for kind in kinds for name in names]
    complete(suite, folder, promised, "image/")
    return names


def read_scene_image(path: Path) -> Tensor:
    """``(3, H, W)`` from ``(H, W, 3)`` in [0, 1]."""
    return _channels_first(read_array(path, shape=(None, None, 3)))


def read_classes(path: Path, size: torch.Size, classes: int) -> Tensor:
    """``(H, W)`` class numbers, -1 where undefined.

    Raises:
        ValueError: If there are classes beyond those expected.
    """
    labels = torch.from_numpy(np.array(read_array(path, shape=tuple(size)), np.int64))
    low, high = int(labels.min()), int(labels.max())
    if low < -1 or high >= classes:
        raise ValueError(
            f"'{path}' should hold classes -1..{classes - 1}, found {low}..{high}. "
            "Is it of another number of classes?"
        )
    return labels


def read_map(path: Path, size: torch.Size, channels: int) -> Tensor:
    """``(channels, H, W)`` from ``(H, W, channels)``, or from ``(H, W)`` where that is one."""
    array = read_array(path)
    if channels == 1 and array.ndim == 2:
        array = array[..., None]
    if array.shape != (*size, channels):
        expected = "x".join(map(str, (*size, channels)))
        found = "x".join(map(str, array.shape))
        raise ValueError(f"'{path}' should be of shape {expected}, found {found}.")
    return _channels_first(array)


def _channels_first(array: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(array.transpose(2, 0, 1), np.float32))


def _number(name: str) -> tuple[int, str]:
    return (int(name), name) if name.isdigit() else (-1, name)
