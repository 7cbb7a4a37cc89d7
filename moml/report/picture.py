"""The picture of a comparison: a scatter for two tasks, dots with whiskers for any other number."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from moml.report.comparison import Column, Comparison
from moml.report.text import arrow, words

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's colours without black and yellow: told apart with any kind of colour vision
COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00")
MARKERS = "osD^vPphXd<>"
INK, GRID, PAPER = "#1c2127", "#d9dee4", "#fffffe"  # a page's style sheet takes these over
STYLE = {
    "axes.edgecolor": GRID,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.labelcolor": INK,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlecolor": INK,
    "axes.titlelocation": "left",
    "axes.titlesize": 10.5,
    "axes.titleweight": "bold",
    "font.size": 10,
    "grid.color": GRID,
    "grid.linewidth": 0.7,
    "legend.frameon": False,
    "legend.labelcolor": INK,
    "svg.fonttype": "none",
    "svg.hashsalt": "moml",
    "xtick.color": GRID,
    "xtick.labelcolor": INK,
    "ytick.color": GRID,
    "ytick.labelcolor": INK,
}


def draw(comparison: Comparison) -> Figure:
    """The picture that suits the number of tasks."""
    with _style():
        return _scatter(comparison) if len(comparison.main) == 2 else _dots(comparison)


def caption(comparison: Comparison) -> str:
    """What the picture shows, in words."""
    if len(comparison.main) == 2:
        turned = any(not column.higher for column in comparison.main)
        return (
            "Both tasks' main metrics on test data. Small marks are seeds, large ones means with "
            "sample standard deviations. The upper right corner is best"
            f"{'; an axis where lower is better is reversed' if turned else ''}."
        )
    if len(comparison.methods) == 1 or not _relative(comparison):
        return (
            "Main metrics on test data, mean and sample standard deviation; small dots are seeds."
        )
    return (
        f"Improvement of main metrics over the mean of {comparison.baseline} in percent, on test "
        "data: right of the line is better. Mean and sample standard deviation; small dots are "
        "seeds."
    )


def to_png(figure: Figure, path: Path) -> None:
    """Write the picture on white."""
    with _style():
        figure.savefig(path, format="png", dpi=160, facecolor="white", metadata={"Software": None})


def to_svg(figure: Figure) -> str:
    """The picture as an SVG element that takes its text and line colours from the page."""
    buffer = io.StringIO()
    nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    with _style():
        figure.savefig(buffer, format="svg", transparent=True, metadata=nothing)
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    for color, name in ((INK, "ink"), (GRID, "line"), (PAPER, "paper")):
        text = text.replace(color, f"var(--{name})")
    return re.sub(r"(font: (?:bold |700 )?[\d.]+px) [^;\"]*", r"\1 system-ui, sans-serif", text)


@contextmanager
def _style() -> Iterator[None]:
    import matplotlib

    with matplotlib.rc_context(STYLE):
        yield


def _scatter(comparison: Comparison) -> Figure:
    """Task against task, one mark per seed, one with whiskers per mean."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.6, 4.8), layout="constrained")
    axes = figure.subplots()
    first, second = comparison.main
    for i, method in enumerate(comparison.methods):
        x, y = comparison.cell(method, first), comparison.cell(method, second)
        if x.mean is None or y.mean is None:
            continue
        look = _look(i)
        if len(x.values) == len(y.values) > 1:
            axes.plot(x.values, y.values, ls="", markersize=4.5, alpha=0.4, **look)
        axes.errorbar(
            [x.mean], [y.mean], xerr=x.std, yerr=y.std, fmt="none", ecolor=look["color"],
            elinewidth=1.3, alpha=0.7, zorder=3,
        )  # fmt: skip
        axes.plot([x.mean], [y.mean], ls="", markersize=9, label=method, zorder=4, **look)
    axes.set_xlabel(_name(first))
    axes.set_ylabel(_name(second))
    if not first.higher:
        axes.invert_xaxis()
    if not second.higher:
        axes.invert_yaxis()
    figure.legend(loc="outside right upper", title=None)
    return figure


def _dots(comparison: Comparison) -> Figure:
    """One panel per task, one row per method."""
    from matplotlib.figure import Figure

    columns, relative = comparison.main, _relative(comparison)
    across = min(4, max(1, len(columns)))
    down = max(1, -(-len(columns) // across))
    height = 1.0 + 0.29 * len(comparison.methods)
    figure = Figure(figsize=(1.6 + 2.35 * across, height * down), layout="constrained")
    grid = figure.subplots(down, across, squeeze=False, sharey=True)
    for axes in grid.flat[len(columns) :]:
        axes.set_visible(False)
    for axes, column in zip(grid.flat, columns, strict=False):
        _panel(axes, comparison, column, relative=relative)
    places = range(len(comparison.methods))
    grid[0, 0].set_yticks(places, comparison.methods)
    grid[0, 0].set_ylim(len(comparison.methods) - 0.4, -0.6)
    return figure


def _panel(axes: Axes, comparison: Comparison, column: Column, *, relative: bool) -> None:
    base = comparison.cell(comparison.baseline, column).mean if relative else None
    for i, method in enumerate(comparison.methods):
        cell = comparison.cell(method, column)
        if cell.mean is None:
            continue
        offset, factor = 0.0, 1.0
        if base is not None:
            offset, factor = base, (100 if column.higher else -100) / abs(base)
        look, mean = _look(i), (cell.mean - offset) * factor
        seeds = [(value - offset) * factor for value in cell.values]
        std = None if cell.std is None else cell.std * abs(factor)
        axes.plot(seeds, [i] * len(seeds), "o", color=look["color"], ms=3.5, alpha=0.4, mew=0)
        axes.errorbar(
            [mean], [i], xerr=std, fmt="none", ecolor=look["color"], elinewidth=1.3, zorder=3
        )
        axes.plot([mean], [i], ls="", markersize=7, zorder=4, **look)
    if base is not None:
        axes.axvline(0, color=INK, linewidth=0.8, zorder=1)
    axes.set_title(column.task)
    axes.set_xlabel(f"{words(column.metric)}, % better" if base is not None else _name(column))
    axes.tick_params(length=0)
    axes.locator_params(axis="x", nbins=4)


def _look(i: int) -> dict[str, Any]:
    """Colour and mark of a method: filled in the first round of colours, hollow in the next."""
    color = COLORS[i % len(COLORS)]
    face = color if i // len(COLORS) % 2 == 0 else PAPER
    return {
        "color": color,
        "marker": MARKERS[i % len(MARKERS)],
        "markerfacecolor": face,
        "markeredgewidth": 1.6,
        "markeredgecolor": color,
    }


def _relative(comparison: Comparison) -> bool:
    """Whether every task can be shown relative to the baseline."""
    means = [comparison.cell(comparison.baseline, column).mean for column in comparison.main]
    return len(comparison.methods) > 1 and len(means) > 1 and all(means)


def _name(column: Column) -> str:
    return f"{column.task}: {words(column.metric)} {arrow(column.higher)}"
