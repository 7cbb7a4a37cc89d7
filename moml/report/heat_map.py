"""Cosines between gradients over time: one strip per pair of tasks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations, groupby
from typing import Any

from moml.report.html import cell, element, escape, table
from moml.report.text import MINUS

LEVELS = 21
MOST_COLUMNS, MOST_ROWS = 160, 60
# conflict, indifference, agreement: blue and orange differ for all kinds of colour vision
LIGHT = ((179, 62, 6), (248, 248, 246), (12, 88, 160))
DARK = ((242, 132, 60), (34, 39, 46), (98, 176, 245))

Column = Mapping[tuple[str, str], float]


def heat_map(records: Sequence[Mapping[str, Any]], tasks: Sequence[str]) -> str:
    """A table with one strip, the mean and the share of conflicts per pair of tasks.

    Args:
        records: Train lines with cosines; a pair that one of them lacks is shown grey.
        tasks: All tasks, in order.
    """
    columns = [column(record, tasks) for record in records]
    pairs = [pair for pair in combinations(tasks, 2) if any(pair in c for c in columns)]
    values = {pair: [c[pair] for c in columns if pair in c] for pair in pairs}
    pairs.sort(key=lambda pair: _mean(values[pair]))
    merged = merge(columns)
    rows: list[tuple[str, ...]] = []
    for pair in pairs[:MOST_ROWS]:
        name, known = f"{pair[0]} × {pair[1]}", values[pair]
        share = sum(value < 0 for value in known) / len(known)
        mean = f"{_mean(known):+.2f}".replace("-", MINUS)
        rows.append(
            (
                cell(escape(name), tag="th"),
                cell(strip([c.get(pair) for c in merged], f"{name}: mean cosine {mean}")),
                cell(mean, class_="num"),
                cell(f"{share:.0%}", class_="num"),
            )
        )
    steps = "".join(element("span", str(step)) for step in _labels(records))
    rows.append((cell("step", class_="dim"), cell(element("div", steps, class_="steps"))))
    titles = ("Tasks", "Cosine over steps", "Mean", "Conflict")
    classes = ("", "", "num", "num")
    head = [cell(t, tag="th", class_=c) for t, c in zip(titles, classes, strict=True)]
    return legend() + table(head, rows, class_="heat")


def column(record: Mapping[str, Any], tasks: Sequence[str]) -> dict[tuple[str, str], float]:
    """The cosines of a train line, by pair of tasks; those of zero gradients are left out."""
    place = {task: i for i, task in enumerate(record.get("tasks", ()))}
    matrix = record.get("cosines", ())
    return {
        (first, second): matrix[place[first]][place[second]]
        for first, second in combinations([task for task in tasks if task in place], 2)
        if matrix[place[first]][place[second]] is not None
    }


def merge(columns: Sequence[Column], most: int = MOST_COLUMNS) -> list[Column]:
    """At most this many columns, each the mean of as many neighbours."""
    stride = -(-len(columns) // most)
    if stride <= 1:
        return list(columns)
    merged: list[Column] = []
    for start in range(0, len(columns), stride):
        found: dict[tuple[str, str], list[float]] = {}
        for one in columns[start : start + stride]:
            for pair, value in one.items():
                found.setdefault(pair, []).append(value)
        merged.append({pair: _mean(values) for pair, values in found.items()})
    return merged


def strip(values: Sequence[float | None], title: str) -> str:
    """An SVG row of cells; neighbours of one colour are one rectangle."""
    parts, x = [], 0
    for level, group in groupby(values, key=_level):
        n = len(list(group))
        parts.append(f'<path class="{level}" d="M{x} 0h{n}v1h-{n}z"/>')
        x += n
    return element(
        "svg",
        f"<title>{escape(title)}</title>" + "".join(parts),
        xmlns="http://www.w3.org/2000/svg",
        viewBox=f"0 0 {max(x, 1)} 1",
        preserveAspectRatio="none",
        shape_rendering="crispEdges",
    )


def legend() -> str:
    """What the colours mean."""
    bar = strip([2 * i / (LEVELS - 1) - 1 for i in range(LEVELS)], "Cosines from −1 to 1")
    hole = element("span", "", class_="hole")
    return element("div", f"{MINUS}1 conflict {bar} agreement 1 {hole} not known", class_="scale")


def heat_style() -> str:
    """Style rules for the levels, light and dark."""
    light, dark = (
        "".join(f".h{i}{{fill:{_mix(palette, i)}}}" for i in range(LEVELS))
        for palette in (LIGHT, DARK)
    )
    hole = ".hx{fill:var(--missing)}"
    return f"{light}{hole}\n@media (prefers-color-scheme:dark){{{dark}}}"


def _mix(palette: tuple[tuple[int, ...], ...], level: int) -> str:
    position = 2 * level / (LEVELS - 1)
    low, share = palette[min(int(position), 1) :], position - min(int(position), 1)
    mixed = (round(a + (b - a) * share) for a, b in zip(low[0], low[1], strict=True))
    return "#" + "".join(f"{value:02x}" for value in mixed)


def _level(value: float | None) -> str:
    return "hx" if value is None else f"h{round((value + 1) / 2 * (LEVELS - 1))}"


def _labels(records: Sequence[Mapping[str, Any]]) -> list[int]:
    """About five steps, evenly spaced."""
    places = {round(i * (len(records) - 1) / 4) for i in range(5)} if records else set()
    return [int(records[i]["step"]) for i in sorted(places)]


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
