"""What few-shot suites of pictures have in common."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from moml.data import ClassEpisodes
from moml.data.class_episodes import Samples
from moml.data.suite import Split
from tasks._files.images import Pictures

ENDINGS = (".png", ".jpg", ".jpeg")
Classes = dict[str, list[Path]]  # pictures by class


class BytePictures:
    """Pictures held as bytes, gathered like a tensor: ``(B, 3, H, W)`` in [0, 1].

    Args:
        array: ``(N, H, W, 3)`` bytes.
    """

    def __init__(self, array: np.ndarray) -> None:
        self.array = torch.from_numpy(array)

    def __len__(self) -> int:
        return len(self.array)

    def __getitem__(self, indices: Tensor) -> Tensor:
        return self.array[indices].permute(0, 3, 1, 2).float() / 255


def check_episode(*, ways: int, shots: int, queries: int, classes: Mapping[Split, int]) -> None:
    """Whether every split has enough classes for an episode.

    Raises:
        ValueError: If not.
    """
    for name, value in (("ways", ways), ("shots", shots), ("queries", queries)):
        if value < 1:
            raise ValueError(f"`{name}` should be at least 1, found {value}.")
    for split, count in classes.items():
        if ways > count:
            raise ValueError(
                f"`ways` should be at most {count}, the classes there are for '{split}', "
                f"found {ways}."
            )


def class_folders(folder: Path) -> Classes:
    """Pictures of every class that has a folder, in order of their names."""
    kinds = sorted(path for path in folder.iterdir() if path.is_dir())
    found = {kind.name: pictures_in(kind) for kind in kinds}
    return {name: files for name, files in found.items() if files}


def pictures_in(folder: Path) -> list[Path]:
    """The pictures directly in a folder, in order of their names."""
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in ENDINGS)


def decoded(classes: Classes, side: int) -> tuple[Samples, Tensor]:
    """Coloured pictures, decoded when an episode needs them, and their classes' numbers."""
    files = [file for kind in classes.values() for file in kind]
    return Pictures(files, side), numbered([len(kind) for kind in classes.values()])


def numbered(sizes: Sequence[int]) -> Tensor:
    """``sizes[0]`` zeros, ``sizes[1]`` ones, and so on."""
    return torch.arange(len(sizes)).repeat_interleave(torch.tensor(sizes))


def episodes_of(
    samples: tuple[Samples, Tensor], *, ways: int, shots: int, queries: int
) -> ClassEpisodes:
    """Episodes of these pictures and classes."""
    inputs, labels = samples
    return ClassEpisodes(inputs, labels, ways=ways, shots=shots, queries=queries)
