"""Cityscapes as its authors publish it: pictures of 1024x2048, label ids, disparities.

``ROOT/leftImg8bit/<split>/<city>/*_leftImg8bit.png``, ``ROOT/gtFine/.../*_gtFine_labelIds.png`` and
``ROOT/disparity/.../*_disparity.png``. M. Cordts et al., "The Cityscapes dataset for semantic urban
scene understanding", CVPR 2016.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import torch

from tasks._files.images import read_colours, read_image
from tasks._files.layout import Layout, complete
from tasks._files.source import Sample

RAW = Layout(
    "Cityscapes as published",
    tuple(
        f"{kind}/{split}/*/*_{kind_end}.png"
        for split in ("train", "val")
        for kind, kind_end in (
            ("leftImg8bit", "leftImg8bit"),
            ("gtFine", "gtFine_labelIds"),
            ("disparity", "disparity"),
        )
    ),
)
# Label ids of the categories; ids that the benchmark's evaluation ignores are undefined here too.
CATEGORIES = (
    (7, 8),  # flat
    (11, 12, 13),  # construction
    (17, 19, 20),  # object
    (21, 22),  # nature
    (23,),  # sky
    (24, 25),  # human
    (26, 27, 28, 31, 32, 33),  # vehicle
)
MOVING = 5  # humans and vehicles are the foreground, all categories before them the background


def raw_names(folder: Path, split: str) -> list[str]:
    """``city/city_000000_000019`` of every picture of a split, sorted.

    Raises:
        ValueError: If one has no labels or disparities.
    """
    end = "_leftImg8bit.png"
    base = folder / "leftImg8bit" / split
    names = sorted(f"{p.parent.name}/{p.name.removesuffix(end)}" for p in base.glob(f"*/*{end}"))
    for kind, ending in (("gtFine", "gtFine_labelIds"), ("disparity", "disparity")):
        promised = [f"{kind}/{split}/{name}_{ending}.png" for name in names]
        complete("Cityscapes", folder, promised, "leftImg8bit/")
    return names


def read_raw(
    folder: Path, split: str, names: list[str], classes: int, size: tuple[int, int], i: int
) -> Sample:
    """Picture, classes and inverse depth at this size.

    The inverse depth is the disparity in pixels of the size read, ``(p - 1) / 256`` at full width;
    where none was measured (``p = 0``) it is 0, which is undefined.
    """
    name = names[i]
    image = read_colours(folder / f"leftImg8bit/{split}/{name}_leftImg8bit.png", size)
    labels = folder / f"gtFine/{split}/{name}_gtFine_labelIds.png"
    ids = read_image(labels, size=size, mode="I", exact=True)
    stored = folder / f"disparity/{split}/{name}_disparity.png"
    measured = read_image(stored, mode="I")
    for file, array in ((labels, ids), (stored, measured)):
        if array.ndim != 2:
            raise ValueError(f"'{file}' should have one channel, found {array.shape[-1]}.")
    height, width = measured.shape
    rows, columns = (
        ((np.arange(n) + 0.5) * full / n).astype(int)  # the nearest pixels
        for n, full in zip(size, (height, width), strict=True)
    )
    pixels = measured[rows[:, None], columns].astype(np.float32)
    inverse = np.maximum(pixels - 1, 0) / 256 * (size[1] / width)
    return image, {
        "segmentation": class_of_id(classes)[torch.from_numpy(ids.astype(np.int64)).clamp(0, 255)],
        "depth": torch.from_numpy(inverse.astype(np.float32))[None],
    }


@cache
def class_of_id(classes: int) -> torch.Tensor:
    """Class of every label id, ``(256,)``: -1 where the id is undefined."""
    table = torch.full((256,), -1)
    for category, ids in enumerate(CATEGORIES):
        table[list(ids)] = category if classes == 7 else int(category >= MOVING)
    if classes == 19:
        known = sorted(number for ids in CATEGORIES for number in ids)
        table[known] = torch.arange(len(known))
    return table
