"""The three layouts of miniImageNet that are in use."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from moml.data.class_episodes import Samples
from moml.data.suite import Split
from tasks._episodes import BytePictures, Classes, class_folders, decoded
from tasks._files.layout import Found, Layout, complete
from tasks._files.pickles import read_pickle

SPLITS: tuple[Split, ...] = ("train", "val", "test")
CACHE = "mini-imagenet-cache-"
PICKLES, LISTS, FOLDERS = "pickled arrays", "pictures and lists", "class folders"
LAYOUTS = [
    Layout(PICKLES, (f"{CACHE}train.pkl", f"{CACHE}val*.pkl", f"{CACHE}test.pkl")),
    Layout(LISTS, (*(f"{split}.csv" for split in SPLITS), "images/*.jpg")),
    Layout(FOLDERS, tuple(f"{split}/*/*.[jp]*g" for split in SPLITS)),
]


def read_split(found: Found, split: Split, side: int) -> tuple[Samples, Tensor]:
    """Pictures and class numbers of a split.

    Raises:
        ValueError: If files are damaged or incomplete.
    """
    if found.layout == PICKLES:
        return _unpickled(next(found.folder.glob(f"{CACHE}{split}*.pkl")), side)
    if found.layout == LISTS:
        return decoded(_listed(found.folder, split), side)
    return decoded(class_folders(found.folder / split), side)


def _unpickled(file: Path, side: int) -> tuple[Samples, Tensor]:
    """``image_data`` is ``(N, 84, 84, 3)`` bytes, ``class_dict`` the rows of every class.

    Labels come from ``class_dict``; some readers of this file give every picture the same one.
    """
    content = read_pickle(file)
    images, rows = content.get("image_data"), content.get("class_dict")
    if not isinstance(images, np.ndarray) or images.shape[1:] != (side, side, 3):
        shape = getattr(images, "shape", None)
        raise ValueError(
            f"'{file}' should hold `image_data` of N x {side} x {side} x 3, found {shape}."
        )
    labels = torch.full((len(images),), -1)
    for number, members in enumerate((rows or {}).values()):
        labels[torch.as_tensor(np.asarray(members, np.int64))] = number
    if images.dtype != np.uint8 or (labels < 0).any():
        raise ValueError(
            f"'{file}' should hold bytes, each picture in `class_dict`, found {images.dtype} and "
            f"{int((labels < 0).sum())} pictures of no class."
        )
    return BytePictures(images), labels


def _listed(folder: Path, split: Split) -> Classes:
    """The lines ``filename,label`` below a header, by label."""
    file = folder / f"{split}.csv"
    classes: Classes = {}
    with file.open(newline="") as lines:
        reader = csv.reader(lines)
        next(reader, None)
        for row in reader:
            if len(row) < 2:
                raise ValueError(f"'{file}' should have lines `filename,label`, found {row}.")
            classes.setdefault(row[1], []).append(folder / "images" / row[0])
    names = [str(path.relative_to(folder)) for kind in classes.values() for path in kind]
    complete("miniImageNet", folder, names, f"'{file.name}'")
    return dict(sorted(classes.items()))
