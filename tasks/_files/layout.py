"""Which of the known layouts a folder has, or what it lacks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

GUIDE = "docs/benchmarks_field.md shows the layouts."


@dataclass(frozen=True)
class Layout:
    """One way in which a data set lies on disk.

    Attributes:
        name: What people call it.
        needs: Paths or patterns below the folder; each has to match something.
        inside: Folders below the root that may hold it, apart from the root itself.
    """

    name: str
    needs: tuple[str, ...]
    inside: tuple[str, ...] = ()

    def lacks(self, folder: Path) -> list[str]:
        """What is needed and not there."""
        return [need for need in self.needs if next(folder.glob(need), None) is None]


@dataclass(frozen=True)
class Found:
    """A data set on disk.

    Attributes:
        layout: Name of its layout.
        folder: The folder that holds it.
    """

    layout: str
    folder: Path

    def __str__(self) -> str:
        return f"{self.layout} in '{self.folder}'"


def find(suite: str, root: Path | str, layouts: Sequence[Layout]) -> Found:
    """The first layout that is complete.

    Args:
        suite: What is looked for, as errors name it.
        root: The folder.
        layouts: All that are known, the likeliest first.

    Raises:
        ValueError: If none is complete: what the nearest one lacks.
    """
    root = Path(root)
    if not root.is_dir():
        raise ValueError(
            f"`root` should be the folder that holds {suite}, found no folder '{root}'. "
            "Nothing is downloaded here."
        )
    nearest: tuple[float, Layout, Path, list[str]] | None = None
    for layout in layouts:
        for folder in (root, *(root / name for name in layout.inside)):
            lacks = layout.lacks(folder) if folder.is_dir() else list(layout.needs)
            if not lacks:
                return Found(layout.name, folder)
            share = len(lacks) / len(layout.needs)
            if nearest is None or share < nearest[0]:
                nearest = share, layout, folder, lacks
    assert nearest is not None, "there should be a layout"
    _, layout, folder, lacks = nearest
    raise ValueError(
        f"`root` should hold {suite}, found '{folder}' without {_listed(lacks)} "
        f"(layout: {layout.name}). {GUIDE}"
    )


def _listed(names: list[str]) -> str:
    shown, more = names[:4], len(names) - 4
    return ", ".join(shown) + (f" and {more} more" if more > 0 else "")


def complete(suite: str, folder: Path, names: Iterable[str], what: str) -> None:
    """Whether files that a list or a sibling promises are there.

    Args:
        suite: As errors name it.
        folder: Where the names start.
        names: Paths below the folder.
        what: Who promises them.

    Raises:
        ValueError: If one is not: how many, and the first.
    """
    absent = [name for name in names if not (folder / name).exists()]
    if absent:
        raise ValueError(
            f"`root` should hold all of {suite}, found {len(absent)} files missing in '{folder}' "
            f"that {what} names; the first is {absent[0]}."
        )
