"""A table with a note, as Markdown and as part of a page."""

from __future__ import annotations

from moml.report.html import cell, element, escape, table

Grid = tuple[str, list[str], list[list[str]], str]  # title, head, rows, note


def html(grid: Grid) -> str:
    """The table and its note, for a page."""
    _, head, rows, note = grid
    titles = [cell(escape(t), tag="th", class_="num" if i else "") for i, t in enumerate(head)]
    lines = [
        [cell(escape(row[0]), tag="th"), *(cell(escape(t), class_="num") for t in row[1:])]
        for row in rows
    ]
    return table(titles, lines) + element("p", escape(note))


def markdown(grid: Grid) -> str:
    """The table and its note."""
    _, head, rows, note = grid
    lines = ["| " + " | ".join(head) + " |", "|---|" + "---:|" * (len(head) - 1)]
    lines += ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join([*lines, "", note, ""])
