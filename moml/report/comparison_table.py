"""The comparison as rows of text, which the page, the Markdown file and the terminal share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from moml.report.comparison import Cell, Column, Comparison
from moml.report.text import arrow, duration, percent, spread, words


@dataclass(frozen=True)
class ComparedEntry:
    """A number with its spread.

    Attributes:
        text: As it is shown.
        best: Whether no other method is better.
    """

    text: str
    best: bool = False


@dataclass(frozen=True)
class Table:
    """Titles of the columns, each in up to two lines, and one row of entries per method."""

    titles: list[tuple[str, str]]
    rows: list[list[ComparedEntry]]


def comparison_table(comparison: Comparison, columns: Sequence[Column] | None = None) -> Table:
    """Method, seeds, metrics, Δ% if there is any, and CPU time.

    Args:
        comparison: What to show.
        columns: Which metrics; the main ones unless given.
    """
    chosen = comparison.main if columns is None else columns
    delta = comparison.has("delta_percent")
    titles = [("Method", ""), ("Seeds", "")]
    titles += [(c.task, f"{words(c.metric)} {arrow(c.higher)}") for c in chosen]
    titles += [("Δ% ↑", "")] * delta + [("CPU", "")]
    rows = []
    for method in comparison.methods:
        seeds = len(comparison.groups[method])
        row = [ComparedEntry(method), ComparedEntry(str(seeds))]
        row += [
            ComparedEntry(_text(comparison.cell(method, c), seeds), method in comparison.best(c))
            for c in chosen
        ]
        if delta:
            cell = comparison.figure(method, "delta_percent")
            top = comparison.best_figure("delta_percent", higher=True)
            text = percent(cell.mean, cell.std).removesuffix(" %")  # the title has it
            row.append(ComparedEntry(text, method in top))
        row.append(ComparedEntry(duration(comparison.figure(method, "cpu_seconds").mean)))
        rows.append(row)
    return Table(titles, rows)


def _text(cell: Cell, seeds: int) -> str:
    """Mean and spread, and over how many seeds if some have no value."""
    text = spread(cell.mean, cell.std)
    return text if len(cell.values) in (0, seeds) else f"{text} (of {len(cell.values)})"


def markdown(table: Table) -> str:
    """The table in Markdown, best entries in bold."""
    head = [f"{first}: {second}" if second else first for first, second in table.titles]
    lines = [head, ["---", *("---:" for _ in head[1:])]]
    lines += [[f"**{e.text}**" if e.best else e.text for e in row] for row in table.rows]
    return "\n".join("| " + " | ".join(_escape(c) for c in line) + " |" for line in lines) + "\n"


def _escape(text: str) -> str:
    return text.replace("|", "\\|")
