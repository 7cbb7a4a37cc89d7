"""Pictures of the same classes in several domains, by list files or by class folders."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import torch

from moml.data import Source
from moml.data.suite import Split
from tasks._files.images import normalized, read_colours
from tasks._files.layout import GUIDE, Found, Layout, complete, find
from tasks._files.source import FileSource, Sample

LISTS, FOLDERS, BELOW_IMAGES = "list files", "class folders", "class folders below images/"
SPLITS: tuple[Split, ...] = ("train", "val", "test")
ENDINGS = (".jpg", ".jpeg", ".png")
Items = list[tuple[Path, int]]


def check_domains(domains: Sequence[str] | None, known: Mapping[str, str]) -> tuple[str, ...]:
    """The domains themselves; all that are known unless given.

    Raises:
        ValueError: If one is unknown or named twice, or there is none.
    """
    domains = tuple(known) if domains is None else domains
    if not set(domains) <= set(known) or len(set(domains)) != len(domains) or not domains:
        raise ValueError(
            f"`domains` should be distinct and among {list(known)}, found {list(domains)}."
        )
    return tuple(domains)


def find_office(suite: str, root: Path, patterns: Mapping[str, str], lists: str) -> Found:
    """The layout: list files in the folder or in ``data_txt``, or a folder per class.

    Args:
        suite: As errors name it.
        root: The folder.
        patterns: What the folder of each domain is called, as a pattern.
        lists: Name of the folder of lists below ``data_txt``.

    Raises:
        ValueError: If there is none: what is missing.
    """
    named = [f"{domain}_{split}.txt" for domain in patterns for split in SPLITS]
    layouts = [
        Layout(LISTS, tuple(named), inside=("data_txt", f"data_txt/{lists}", lists)),
        Layout(BELOW_IMAGES, tuple(f"{p}/images/*/*.*g" for p in patterns.values())),
        Layout(FOLDERS, tuple(f"{p}/*/*.*g" for p in patterns.values())),
    ]
    return find(suite, root, layouts)


def office_items(
    suite: str, root: Path, found: Found, patterns: Mapping[str, str], *, classes: int, seed: int
) -> dict[str, dict[Split, Items]]:
    """Picture and class of every sample, by domain and split.

    Raises:
        ValueError: If a list is wrong, or there is another number of classes.
    """
    if found.layout == LISTS:
        return {
            domain: {
                split: _listed(suite, root, found.folder / f"{domain}_{split}.txt", classes)
                for split in SPLITS
            }
            for domain in patterns
        }
    below = "images" if found.layout == BELOW_IMAGES else "."
    return {
        domain: _divided(suite, next(found.folder.glob(pattern)) / below, classes, seed)
        for domain, pattern in patterns.items()
    }


def office_source(domain: str, items: Items, size: int, *, normalize: bool) -> Source:
    """A domain's pictures, each the only task of its input."""
    return FileSource(len(items), partial(_read, domain, items, size, normalize))


def _read(domain: str, items: Items, size: int, normalize: bool, i: int) -> Sample:
    path, label = items[i]
    image = read_colours(path, (size, size))
    return normalized(image) if normalize else image, {domain: torch.tensor(label)}


def _listed(suite: str, root: Path, file: Path, classes: int) -> Items:
    """The lines ``path label`` of a list; a path may hold blanks."""
    items = []
    for number, line in enumerate(file.read_text().splitlines(), start=1):
        if not line.strip():
            continue
        path, _, label = line.rpartition(" ")
        if not path or not label.isdigit() or int(label) >= classes:
            raise ValueError(
                f"Line {number} of '{file}' should be a path and a class 0..{classes - 1}, "
                f"found {line!r}."
            )
        items.append((_spelt(root, path), int(label)))
    if not items:
        raise ValueError(f"'{file}' should list at least one picture, found none.")
    complete(suite, root, [path for path, _ in items], f"'{file.name}'")
    return [(root / path, label) for path, label in items]


def _spelt(root: Path, path: str) -> str:
    """The path, with a blank or an underscore in the domain's name as the folder has it."""
    domain, slash, rest = path.partition("/")
    if not (root / domain).exists():
        for other in (domain.replace("_", " "), domain.replace(" ", "_")):
            if (root / other).exists():
                domain = other
    return domain + slash + rest


def _divided(suite: str, folder: Path, classes: int, seed: int) -> dict[Split, Items]:
    """Three fifths of every class for training, a fifth each for validation and testing."""
    kinds = sorted(path for path in folder.iterdir() if path.is_dir())
    if len(kinds) != classes:
        raise ValueError(
            f"`root` should hold all {classes} classes of {suite}, found {len(kinds)} folders in "
            f"'{folder}'. {GUIDE}"
        )
    parts: dict[Split, Items] = {split: [] for split in SPLITS}
    generator = torch.Generator().manual_seed(seed)
    for label, kind in enumerate(kinds):
        files = sorted(path for path in kind.iterdir() if path.suffix.lower() in ENDINGS)
        if len(files) < len(SPLITS):
            raise ValueError(
                f"'{kind}' should hold at least 3 pictures, one for each split, found {len(files)}."
            )
        order = torch.randperm(len(files), generator=generator).tolist()
        fifth = max(1, round(len(files) / 5))
        bounds = {"val": (0, fifth), "test": (fifth, 2 * fifth), "train": (2 * fifth, len(files))}
        for split in SPLITS:
            low, high = bounds[split]
            parts[split] += [(files[i], label) for i in sorted(order[low:high])]
    return parts
