"""Which charts a run's page shows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from moml.report.heat_map import heat_map
from moml.report.html import element, escape, section
from moml.report.line_chart import Series, line_chart
from moml.report.run import Points, StoredRun
from moml.report.scale import fit_scale
from moml.report.text import arrow, number, words

MOST_LINES = 6


def loss_section(run: StoredRun) -> str:
    """Training and validation loss, one chart per task; empty without any."""
    charts = []
    for task in run.tasks:
        train = Series("train", run.curve(run.train, "losses", task), 0)
        val = Series("validation", run.curve(run.evals("val"), "losses", task), 1, dots=True)
        if train.points or val.points:
            charts.append(_figure(run, task, "loss", [train, val]))
    if not charts:
        return ""
    has_val = bool(run.evals("val"))
    names = [("train", 0), ("validation", 1)][: 1 + has_val]
    return section("Losses", _legend(names, best=has_val), _grid(charts))


def metric_section(run: StoredRun) -> str:
    """Every validation metric over steps; empty without any."""
    charts = []
    for task, metric in run.metrics:
        points = run.curve(run.evals("val"), "metrics", task, metric)
        if points:
            title = f"{task}: {words(metric)}"
            shown = dict(points).get(run.best_step or 0, points[-1][1])
            corner = f"{arrow(run.higher_is_better(task, metric))} {number(shown)}"
            charts.append(_figure(run, title, corner, [Series(title, points, 1, dots=True)]))
    if not charts:
        return ""
    return section("Validation metrics", _legend([("validation", 1)], best=True), _grid(charts))


def weight_section(run: StoredRun) -> str:
    """Weights of the objectives over steps."""
    curves = {task: run.curve(run.train, "weights", task) for task in run.tasks}
    curves = {task: points for task, points in curves.items() if points}
    title = "Weights of the upper objectives" if run.curves else "Task weights"
    if not curves:
        return section(title, note="The method reports no weights.") if run.train else ""
    return _lines_section(run, title, curves)


def curve_sections(run: StoredRun) -> str:
    """Whatever else the problem has reported over steps, a section per chart."""
    return "\n".join(
        _lines_section(
            run, chart, {name: run.curve(run.train, "curves", chart, name) for name in names}
        )
        for chart, names in run.curves.items()
    )


def _lines_section(run: StoredRun, title: str, curves: Mapping[str, Points]) -> str:
    """Lines over steps: in one chart if they can be told apart, else one each."""
    if len(curves) > MOST_LINES:
        scale = fit_scale([0.0, *(y for points in curves.values() for _, y in points)])
        charts = [
            _card(task, "", line_chart([Series(task, points)], title=f"{title}: {task}",
                  last_step=run.last_step, scale=scale))
            for task, points in curves.items()
        ]  # fmt: skip
        note = "Mean over the steps between two lines of the log; all on the same scale."
        return section(title, _grid(charts), note=note)
    series = [Series(task, points, i) for i, (task, points) in enumerate(curves.items())]
    chart = line_chart(series, title=title, last_step=run.last_step, size=(1040, 250))
    return section(
        title,
        _legend([(line.name, line.color) for line in series]),
        element("figure", chart, class_="wide"),
        note="Mean over the steps between two lines of the log.",
    )


def conflict_section(run: StoredRun) -> str:
    """Cosines between the tasks' gradients over time, or how to get them; empty for one task."""
    if len(run.objectives) < 2:
        return ""
    known = [record for record in run.train if "cosines" in record]
    if not known:
        hint = element("code", "--conflicts_every 10")
        return section(
            "Gradient conflicts",
            note="Not recorded: this method needs no gradients per task. To have their cosines "
            f"here, train with {hint}.",
        )
    return section(
        "Gradient conflicts",
        heat_map(known, run.objectives),
        note="Cosine between the gradients of two tasks. Below zero, a step along one gradient "
        "raises the other task's loss. Sorted by mean, the strongest conflict first.",
    )


GRADIENTS = {
    "direction": "length of the combined gradient, weights summing to 1",
    "stationarity": "least length of any such combination, 0 at a Pareto-stationary point",
    "worst cosine": "between the step and the task it serves least",
    "condition": "largest over smallest singular value of the unit gradients",
}


def gradient_section(run: StoredRun) -> str:
    """What the Gramian says about the steps; empty where none was known."""
    charts = []
    for name, meaning in GRADIENTS.items():
        points = run.curve(run.train, "diagnostics", name)
        if len(points) > 1:
            charts.append(_figure(run, f"{name}: {meaning}", "", [Series(name, points)]))
    if not charts:
        return ""
    note = (
        "At the last step of each line of the log where the gradients of all tasks were known. "
        "Lengths are relative to the longest of them."
    )
    return section("Gradients", _grid(charts), note=note)


def _figure(run: StoredRun, title: str, corner: str, series: Sequence[Series]) -> str:
    chart = line_chart(series, title=title, last_step=run.last_step, best_step=run.best_step)
    return _card(title, corner, chart)


def _card(title: str, corner: str, chart: str) -> str:
    caption = element("h3", escape(title)) + (element("span", escape(corner)) if corner else "")
    return element("figure", element("figcaption", caption) + chart)


def _grid(charts: Iterable[str]) -> str:
    return element("div", "\n".join(charts), class_="grid")


def _legend(names: Iterable[tuple[str, int]], *, best: bool = False) -> str:
    items = [
        element("li", element("i", class_=f"s{color}") + escape(name)) for name, color in names
    ]
    if best:
        items.append(element("li", element("i", class_="dashed") + "best step"))
    return element("ul", "".join(items), class_="legend")
