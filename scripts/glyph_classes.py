"""Derives the characters of the glyph benchmark and their split; writes tasks/_glyph_classes.py.

A character qualifies if all twelve DejaVu text styles draw it, if it is a letter, a digit or a
mathematical symbol, and if it is not an accented or styled form of others (no Unicode
decomposition). Of characters that look alike (Latin A, Greek Α, Cyrillic А) the first stays.
Characters that are nearly alike, at any size (Θ and Ɵ, П and п), go to the same split.

Run: python scripts/glyph_classes.py [--check]
"""

from __future__ import annotations

import argparse
import random
import sys
import textwrap
import unicodedata
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

import networkx
import torch
from fontTools.ttLib import TTFont
from torch import Tensor
from torch.nn import functional

from tasks._glyph_images import STYLES, font_file, stacked

TARGET = Path(__file__).parent.parent / "tasks" / "_glyph_classes.py"
KINDS = ("Lu", "Ll", "Lo", "Nd", "Sm")
SAME = 1.11  # images closer than this (L2, mean over the styles) show one class
IDENTICAL = 1.0  # images closer than this in any style: same split
ALIKE = 0.92  # cosine (mean over the styles) of images scaled to one size: same split
SIZES = {"val": 110, "test": 139}  # the rest is for training


def candidates() -> str:
    """Characters that all styles draw and that are not built from others."""
    drawn = [set(TTFont(font_file(style)).getBestCmap()) for style in STYLES]
    characters = (chr(code) for code in sorted(set.intersection(*drawn)))
    return "".join(
        c
        for c in characters
        if unicodedata.category(c) in KINDS and not unicodedata.decomposition(c)
    )


def distances(images: Tensor) -> Tensor:
    """L2 distance of any two characters in each style, ``(F, N, N)``."""
    flat = images.flatten(2).transpose(0, 1)
    return torch.cdist(flat, flat)


def distinct(characters: str) -> str:
    """The first of each group of characters that look the same."""
    apart = distances(stacked(STYLES, characters)).mean(0)
    kept: list[int] = []
    for i in range(len(characters)):
        if not kept or apart[i, kept].min() >= SAME:
            kept.append(i)
    return "".join(characters[i] for i in kept)


def families(characters: str) -> Iterator[str]:
    """Groups of characters that are alike in a style, or but for their size."""
    images = stacked(STYLES, characters)
    scaled = torch.stack([torch.stack([one_size(i) for i in styles]) for styles in images])
    unit = functional.normalize(scaled.flatten(2), dim=-1)  # (N, F, 784)
    cosine = torch.einsum("ifd,jfd->ij", unit, unit) / len(STYLES)
    alike = (cosine >= ALIKE) | (distances(images).amin(0) < IDENTICAL)
    for group in networkx.connected_components(networkx.from_numpy_array(alike.numpy())):
        yield "".join(characters[i] for i in sorted(group))


def one_size(image: Tensor) -> Tensor:
    """The glyph of an image ``(28, 28)``, enlarged to 24 pixels on its longer side."""
    rows, columns = (image > 0.1).nonzero(as_tuple=True)
    ink = image[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
    height, width = (max(1, round(24 * side / max(ink.shape))) for side in ink.shape)
    large = functional.interpolate(ink[None, None], (height, width), mode="area")[0, 0]
    top, left = (28 - height) // 2, (28 - width) // 2
    return functional.pad(large, (left, 28 - width - left, top, 28 - height - top))


def split(groups: list[str]) -> dict[str, str]:
    """Families dealt to the splits in random order, until each has its size."""
    random.Random(0).shuffle(groups)
    dealt: dict[str, str] = {"train": "", **dict.fromkeys(SIZES, "")}
    for group in groups:
        open_ = [name for name, size in SIZES.items() if len(dealt[name] + group) <= size]
        dealt[open_[0] if open_ else "train"] += group
    return {name: "".join(sorted(characters)) for name, characters in dealt.items()}


def page(dealt: dict[str, str]) -> str:
    """The module that holds the result."""
    lines = [
        '"""Characters of the glyph benchmark by split: written by scripts/glyph_classes.py."""',
        "",
        "from __future__ import annotations",
        "",
        "from moml.data.suite import Split",
        "",
        "CHARACTERS: dict[Split, str] = {",
    ]
    for name, characters in dealt.items():
        lines.append(f'    "{name}": (')
        lines += [f'        "{piece}"' for piece in textwrap.wrap(characters, 60)]
        lines.append("    ),")
    return "\n".join([*lines, "}", ""])


def main() -> int:
    """Write the page, or check that nothing would change."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    check = parser.parse_args().check
    every = candidates()
    kept = distinct(every)
    groups = list(families(kept))
    dealt = split(groups)
    counts = ", ".join(f"{name} {len(characters)}" for name, characters in dealt.items())
    print(f"{len(every)} characters, {len(kept)} distinct, {len(groups)} families; {counts}")
    if check:
        return int(TARGET.read_text() != page(dealt))
    TARGET.write_text(page(dealt))
    return 0


if __name__ == "__main__":
    sys.exit(main())
