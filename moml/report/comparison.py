"""Several methods over several seeds: who does how well on what."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from moml.report.text import listing

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Column:
    """A metric of a task.

    Attributes:
        task: The task.
        metric: Its metric.
        higher: Whether higher is better.
        main: Whether it is the task's main metric.
    """

    task: str
    metric: str
    higher: bool
    main: bool


@dataclass(frozen=True)
class Cell:
    """One number per seed, summarised.

    Attributes:
        values: The numbers, in the order of the rows.
        mean: Their mean; ``None`` without any.
        std: Their sample standard deviation; ``None`` with fewer than two.
    """

    values: tuple[float, ...]

    @property
    def mean(self) -> float | None:
        """Mean over seeds."""
        return statistics.fmean(self.values) if self.values else None

    @property
    def std(self) -> float | None:
        """Sample standard deviation over seeds, with n − 1 in the denominator."""
        return statistics.stdev(self.values) if len(self.values) > 1 else None


class Comparison:
    """Results grouped by method, on test data.

    A row's method is its ``"label"``, or else its ``"method"`` or ``"weighting"``.

    Args:
        rows: Contents of ``results.json``, one per run.

    Raises:
        ValueError: If there is no row, or rows come from different suites.
    """

    def __init__(self, rows: Sequence[Row]) -> None:
        if not rows:
            raise ValueError("`rows` should hold at least one result, found none.")
        suites = list(dict.fromkeys(str(row["suite"]) for row in rows))
        if len(suites) > 1:
            raise ValueError(
                f"`rows` should come from one suite, found {listing(suites)}. "
                "Compare the runs of each suite on their own."
            )
        self.suite, self.rows = suites[0], list(rows)
        self.groups: dict[str, list[Row]] = {}
        for row in rows:
            self.groups.setdefault(label(row), []).append(row)
        self.columns = _columns(self.rows)

    @property
    def methods(self) -> list[str]:
        """Methods in the order of their first row."""
        return list(self.groups)

    @property
    def main(self) -> list[Column]:
        """The main metric of every task."""
        return [column for column in self.columns if column.main]

    def cell(self, method: str, column: Column) -> Cell:
        """A metric of a method."""
        found = (value(row, column) for row in self.groups[method])
        return Cell(tuple(v for v in found if v is not None))

    def figure(self, method: str, key: str) -> Cell:
        """A number that rows hold at the top, such as ``"delta_percent"`` or ``"cpu_seconds"``."""
        found = (row.get(key) for row in self.groups[method])
        return Cell(tuple(float(v) for v in found if v is not None))

    def has(self, key: str) -> bool:
        """Whether any row holds this number."""
        return any(row.get(key) is not None for row in self.rows)

    def best(self, column: Column) -> set[str]:
        """The methods whose mean is best; none if there is only one method."""
        means = {method: self.cell(method, column).mean for method in self.methods}
        return _best(means, higher=column.higher)

    def best_figure(self, key: str, *, higher: bool) -> set[str]:
        """The same for a number at the top of rows."""
        return _best({m: self.figure(m, key).mean for m in self.methods}, higher=higher)

    @property
    def baseline(self) -> str:
        """What the picture compares to: equal weighting, or else the first method."""
        return "EW" if "EW" in self.groups else self.methods[0]


def label(row: Row) -> str:
    """The method of a row."""
    return str(row.get("label") or row.get("method") or row["weighting"])


def value(row: Row, column: Column) -> float | None:
    """A metric of a row on test data."""
    found = (row.get("test") or {}).get(column.task, {}).get(column.metric)
    return None if found is None else float(found)


def _columns(rows: Sequence[Row]) -> list[Column]:
    """All metrics of all rows; the main one is as stored, or else the task's first."""
    table: dict[str, dict[str, bool]] = {}
    main: dict[str, str] = {}
    for row in rows:
        main = {**row.get("main", {}), **main}
        for task, metrics in (row.get("test") or {}).items():
            directions = row.get("higher_is_better", {}).get(task, {})
            for metric in metrics:
                table.setdefault(task, {}).setdefault(metric, directions.get(metric, True))
    return [
        Column(task, metric, higher, main=metric == main.get(task, next(iter(metrics))))
        for task, metrics in table.items()
        for metric, higher in metrics.items()
    ]


def _best(means: Mapping[str, float | None], *, higher: bool) -> set[str]:
    known = {method: mean for method, mean in means.items() if mean is not None}
    if len(means) < 2 or not known:
        return set()
    top = (max if higher else min)(known.values())
    return {method for method, mean in known.items() if mean == top}
