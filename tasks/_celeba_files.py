"""The lists of CelebA, in its authors' layout and in two others."""

from __future__ import annotations

import csv
import os
from pathlib import Path

import numpy as np

from moml.data.suite import Split
from tasks._files.layout import Found, Layout

SPLITS: tuple[Split, ...] = ("train", "val", "test")  # 0, 1 and 2 in the lists
PUBLISHED, FLAT, TABLES = "CelebA as published", "torchvision's folder", "comma-separated tables"
ATTRIBUTES, PARTITION = "list_attr_celeba", "list_eval_partition"
LISTS = {
    PUBLISHED: (f"Anno/{ATTRIBUTES}.txt", f"Eval/{PARTITION}.txt"),
    FLAT: (f"{ATTRIBUTES}.txt", f"{PARTITION}.txt"),
    TABLES: (f"{ATTRIBUTES}.csv", f"{PARTITION}.csv"),
}
PICTURES = {
    PUBLISHED: ("Img/img_align_celeba", "Img/img_align_celeba_png"),
    FLAT: ("img_align_celeba",),
    TABLES: ("img_align_celeba/img_align_celeba", "img_align_celeba"),
}
INSIDE = ("celeba", "CelebA")
LAYOUTS = [
    Layout(name, (*LISTS[name], f"{folder}/*.*g"), inside=INSIDE)
    for name in (PUBLISHED, FLAT, TABLES)
    for folder in PICTURES[name]
]


def read_lists(found: Found) -> tuple[list[str], dict[Split, list[str]], dict[str, np.ndarray]]:
    """Names of the attributes, pictures of every split, and a picture's attributes (0 or 1).

    Raises:
        ValueError: If lists are damaged.
    """
    attributes, partition = (found.folder / name for name in LISTS[found.layout])
    rows = _rows(attributes)
    names, first = (rows[0][1:], 1) if attributes.suffix == ".csv" else (rows[1], 2)
    try:
        signs = np.array([row[1:] for row in rows[first:]], np.int8)
    except ValueError as error:
        raise ValueError(
            f"'{attributes}' should hold -1 and 1 below the names of attributes."
        ) from error
    if signs.shape != (len(rows) - first, len(names)) or not np.isin(signs, (-1, 1)).all():
        raise ValueError(
            f"'{attributes}' should hold -1 or 1 for each of {len(names)} attributes, found an "
            f"array of {signs.shape} with values {np.unique(signs)[:4].tolist()}."
        )
    answers = dict(zip((row[0] for row in rows[first:]), (signs + 1) // 2, strict=True))
    parts: dict[Split, list[str]] = {split: [] for split in SPLITS}
    for row in _rows(partition)[1 if partition.suffix == ".csv" else 0 :]:
        if len(row) != 2 or row[1] not in ("0", "1", "2") or row[0] not in answers:
            raise ValueError(
                f"'{partition}' should name pictures of '{attributes.name}' with 0, 1 or 2, "
                f"found {' '.join(row)!r}."
            )
        parts[SPLITS[int(row[1])]].append(row[0])
    return names, parts, answers


def picture_files(found: Found, parts: dict[Split, list[str]]) -> dict[str, Path]:
    """The file of every picture in the lists, whatever its ending.

    Raises:
        ValueError: If some are not there.
    """
    for name in PICTURES[found.layout]:
        folder = found.folder / name
        if folder.is_dir():
            known = {entry.name.rpartition(".")[0]: entry.name for entry in os.scandir(folder)}
            break
    wanted = [name for names in parts.values() for name in names]
    absent = [name for name in wanted if name.rpartition(".")[0] not in known]
    if absent:
        raise ValueError(
            f"`root` should hold all of CelebA, found {len(absent)} pictures of the lists missing "
            f"in '{folder}'; the first is {absent[0]}."
        )
    return {name: folder / known[name.rpartition(".")[0]] for name in wanted}


def _rows(file: Path) -> list[list[str]]:
    with file.open(newline="") as lines:
        rows = csv.reader(lines) if file.suffix == ".csv" else (line.split() for line in lines)
        return [row for row in rows if row]
