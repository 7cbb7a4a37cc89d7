"""PAWS-X's files: as published, and as XTREME passes them on."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from moml.data.suite import Split
from tasks._files.layout import Found, Layout, find

PUBLISHED, XTREME = "PAWS-X as published", "XTREME's files"
Pairs = list[tuple[str, str, int]]
# Scripts without blanks between words: every character is a token of its own.
UNSPACED = re.compile("([\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af])")


def find_paraphrases(root: Path, languages: Sequence[str]) -> Found:
    """The layout of the data in a folder.

    Raises:
        ValueError: If there is none: what is missing.
    """
    published = [f"{lang}/{name}.tsv" for lang in languages
                 for name in ("*train", "dev_2k", "test_2k")]  # fmt: skip
    passed_on = [f"{part}-{lang}.tsv" for lang in languages for part in ("train", "dev", "test")]
    layouts = [
        Layout(PUBLISHED, tuple(published), inside=("x-final", "pawsx/x-final")),
        Layout(XTREME, tuple(passed_on), inside=("pawsx", "PAWSX")),
    ]
    return find("PAWS-X", root, layouts)


def read_pairs(found: Found, language: str, split: Split) -> Pairs:
    """Sentences and whether they mean the same.

    Published files have a header, XTREME's do not; a reader that skips the first line of those
    drops an example.

    Raises:
        ValueError: If a line is not of that form.
    """
    if found.layout == PUBLISHED:
        names = {"train": "*train.tsv", "val": "dev_2k.tsv", "test": "test_2k.tsv"}
        file = min((found.folder / language).glob(names[split]))
        skipped, first = 1, 1  # header; sentences start after the number of the pair
    else:
        names = {"train": "train", "val": "dev", "test": "test"}
        file = found.folder / f"{names[split]}-{language}.tsv"
        skipped = first = 0
    pairs: Pairs = []
    lines = file.read_text(encoding="utf-8").split("\n")  # sentences may hold other line ends
    for number, line in enumerate(lines[skipped:], start=skipped + 1):
        if not line.strip():
            continue
        fields = line.rstrip("\r").split("\t")[first:]
        if len(fields) != 3 or fields[2].strip() not in ("0", "1"):
            raise ValueError(
                f"Line {number} of '{file}' should be two sentences and 0 or 1, found "
                f"{line[:60]!r}."
            )
        pairs.append((fields[0], fields[1], int(fields[2])))
    if not pairs:
        raise ValueError(f"'{file}' should hold at least one pair of sentences, found none.")
    return pairs


def spaced(text: str) -> str:
    """Blanks around every character of a script that has none."""
    return UNSPACED.sub(r" \1 ", text)
