"""``comparison.html``, ``comparison.md`` and ``comparison.png``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from moml.report.comparison import Comparison, label, value
from moml.report.comparison_table import Table, comparison_table, markdown
from moml.report.html import cell, details, element, escape, facts, section, table
from moml.report.page import page
from moml.report.picture import caption, draw, to_png, to_svg
from moml.report.text import arrow, number, words

NOTE = (
    "Test data, weights selected on validation data. Mean over seeds ± sample standard deviation; "
    "the best mean in bold."
)


def write_comparison(rows: Sequence[Mapping[str, Any]], folder: str | Path) -> Path:
    """Write the comparison of several runs as a page, as Markdown and as a picture.

    Args:
        rows: Contents of ``results.json``, one per run; a key ``"report"`` links to a run's page.
        folder: Where to; created if missing.

    Returns:
        Path of the page.

    Raises:
        ValueError: If there is no row, or rows come from different suites.
    """
    comparison, folder = Comparison(rows), Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    figure = draw(comparison)
    to_png(figure, folder / "comparison.png")
    text = "\n".join(
        (
            f"# {_title(comparison)}\n",
            f"{NOTE}\n",
            markdown(comparison_table(comparison)),
            f"![{caption(comparison)}](comparison.png)\n",
            f"{caption(comparison)}\n",
        )
    )
    (folder / "comparison.md").write_text(text, encoding="utf-8")
    path = folder / "comparison.html"
    path.write_text(_page(comparison, to_svg(figure)), encoding="utf-8")
    return path


def _title(comparison: Comparison) -> str:
    return f"{comparison.suite}: {len(comparison.methods)} methods"


def _page(comparison: Comparison, picture: str) -> str:
    content = [
        facts(_facts(comparison)),
        section("Results", _html(comparison_table(comparison)), note=NOTE),
        section(
            "Picture",
            element("figure", picture, class_="picture"),
            note=escape(caption(comparison)),
        ),
        element("section", _all_metrics(comparison) + _runs(comparison)),
    ]
    return page(_title(comparison), "Comparison", content)


def _facts(comparison: Comparison) -> list[tuple[str, str]]:
    pairs = [("Runs", str(len(comparison.rows)))]
    for name, key in (("Architecture", "architecture"), ("Steps", "steps")):
        found = dict.fromkeys(str(row[key]) for row in comparison.rows if key in row)
        pairs.append((name, ", ".join(found)))
    edge = dict.fromkeys(
        f"{label(row)} ({row['learning_rate']:g})" for row in comparison.rows
        if row.get("rate_at_edge")
    )  # fmt: skip
    pairs.append(("Best learning rate at the edge of those tried", ", ".join(edge)))
    return [(name, text) for name, text in pairs if text]


def _html(content: Table) -> str:
    head = [
        cell(
            escape(first) + (f"<br>{escape(second)}" if second else ""),
            tag="th",
            class_="num" if i else "",
        )
        for i, (first, second) in enumerate(content.titles)
    ]
    rows = [
        [cell(escape(row[0].text), tag="th")]
        + [cell(escape(e.text), class_="num best" if e.best else "num") for e in row[1:]]
        for row in content.rows
    ]
    return table(head, rows)


def _all_metrics(comparison: Comparison) -> str:
    if len(comparison.columns) == len(comparison.main):
        return ""
    return details("All metrics", _html(comparison_table(comparison, comparison.columns)))


def _runs(comparison: Comparison) -> str:
    """Every run on its own, with a link to its page if there is one."""
    titles = ["Method", "Seed"]
    titles += [f"{c.task}: {words(c.metric)} {arrow(c.higher)}" for c in comparison.main]
    head = [cell(escape(t), tag="th", class_="num" if i else "") for i, t in enumerate(titles)]
    rows = []
    for row in comparison.rows:
        name = escape(label(row))
        if row.get("report"):
            name = element("a", name, href=Path(str(row["report"])).as_posix())
        numbers = [number(value(row, column)) for column in comparison.main]
        seed = str(row.get("seed", "–"))
        rows.append([cell(name)] + [cell(text, class_="num") for text in (seed, *numbers)])
    return details("All runs", table(head, rows))
