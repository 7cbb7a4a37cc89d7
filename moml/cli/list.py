"""``moml list``: what there is."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from moml.jobs import catalog


def run(argv: Sequence[str]) -> int:
    """Print the classes of a kind, or the kinds."""
    if not argv or argv[0] in ("-h", "--help"):
        print("usage: moml list " + "|".join([*catalog.kinds(), "recipes"]))
        return 0
    if argv[0] == "recipes":
        return _recipes()
    from rich.console import Console
    from rich.table import Table

    found = catalog.entries(argv[0])
    table = Table(box=None, pad_edge=False, header_style="bold")
    columns = ["name", "summary"]
    columns += [c for c in ("needs", "traits", "paper") if any(getattr(e, c) for e in found)]
    for column in columns:
        table.add_column(column, no_wrap=column == "name", overflow="fold")
    for entry in found:
        table.add_row(*(_plain(_text(entry, column)) for column in columns))
    Console().print(table)
    return 0


def _text(entry: catalog.Entry, column: str) -> str:
    value = getattr(entry, column)
    return ", ".join(one.replace("_", " ") for one in value) if isinstance(value, tuple) else value


def _plain(text: str) -> str:
    """Without the markup of a docstring, and safe from that of the terminal."""
    return text.replace("``", "").replace("[", r"\[")


def _recipes() -> int:
    for path in sorted((Path(catalog.__file__).parents[1] / "recipes").glob("*.yaml")):
        first = path.read_text().splitlines()[0]
        print(f"{path.stem:24s} {first.lstrip('# ')}")
    return 0
