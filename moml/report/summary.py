"""The comparison on a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich import box
from rich.table import Table
from rich.text import Text

from moml.report.comparison import Comparison
from moml.report.comparison_table import ComparedEntry, comparison_table

MOST_TASKS = 4


def summary_table(rows: Sequence[Mapping[str, Any]]) -> Table:
    """Methods with their main metrics on test data, mean ± sample standard deviation over seeds.

    With many tasks the table is turned, one row per task, and shows means only.

    Args:
        rows: Contents of ``results.json``, one per run.

    Raises:
        ValueError: If there is no row, or rows come from different suites.
    """
    comparison = Comparison(rows)
    content = comparison_table(comparison)
    lines = [[_title(first, second) for first, second in content.titles]]
    lines += [[_entry(entry) for entry in row] for row in content.rows]
    turned = len(comparison.main) > MOST_TASKS
    if turned:
        lines = [[_mean(text) for text in line] for line in zip(*lines, strict=True)]
    name = f"{comparison.suite}, test data" + (", means over seeds" if turned else "")
    table = Table(
        box=box.SIMPLE_HEAD,
        title=name,
        title_justify="left",
        title_style="bold",
        pad_edge=False,
        padding=(0, 1),
    )
    for i, title in enumerate(lines[0]):
        table.add_column(title, justify="left" if i == 0 else "right", no_wrap=i == 0)
    for line in lines[1:]:
        table.add_row(*line)
    return table


def _title(first: str, second: str) -> Text:
    return Text(f"{first}\n{second}" if second else first)


def _entry(entry: ComparedEntry) -> Text:
    return Text(entry.text, style="bold" if entry.best else "")


def _mean(text: Text) -> Text:
    """One line without the spread."""
    return Text(text.plain.split(" ± ")[0].replace("\n", " "), style=text.style)
