"""The numbers at the top of a run's page."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import groupby
from typing import Any

from moml.report.html import cell, element, escape, facts, section, table
from moml.report.run import StoredRun
from moml.report.text import arrow, duration, percent, spread, words


def fact_tiles(run: StoredRun) -> str:
    """What was run, and the versions it ran with."""
    done, planned = run.last_step, run.setting("steps")
    finished = bool(run.results)
    seconds, delta = run.results.get("cpu_seconds"), run.results.get("delta_percent")
    pairs = [
        ("Suite", run.setting("suite")),
        ("Architecture", run.setting("architecture")),
        ("Method", run.setting("method")),
        ("Weighting", run.setting("weighting")),
        ("Seed", run.setting("seed")),
        ("Steps", planned if finished else f"{done} of {planned}" if planned else done),
        ("Best step", run.best_step),
        ("CPU time", None if seconds is None else duration(seconds)),
        ("Δ% on test", None if delta is None else percent(delta)),
    ]
    versions = " · ".join(f"{name} {version}" for name, version in run.versions.items())
    return facts((name, str(value)) for name, value in pairs if value is not None) + (
        element("p", escape(versions), class_="versions") if versions else ""
    )


def result_section(run: StoredRun) -> str:
    """Every task and metric: validation at the best step, and test once the run is finished."""
    best = run.best or {}
    val = run.results.get("val") or best.get("metrics", {})
    test = run.results.get("test") or {}
    if not val and not test:
        return section("Results", note="No evaluation yet: the run has not reached its first one.")
    titles = [("Task", ""), ("Metric", ""), ("Validation", "num"), ("Test", "num")]
    head = [cell(title, tag="th", class_=kind) for title, kind in titles[: 4 if test else 3]]
    rows = []
    for task, group in groupby(run.metrics, key=lambda pair: pair[0]):
        metrics = [metric for _, metric in group]
        for i, metric in enumerate(metrics):
            row = [_task(run, task, len(metrics))] if i == 0 else []
            row.append(cell(_metric(run, task, metric)))
            row += [
                cell(_interval(run, name, _value(split, task, metric), task, metric), class_="num")
                for name, split in [("val", val), *([("test", test)] if test else [])]
            ]
            rows.append(row)
    return section("Results", table(head, rows), *_delta(run), note=_note(run, bool(test)))


def _note(run: StoredRun, tested: bool) -> str:
    if tested:
        ranges = " ± is half a 95 % interval over episodes." if _has_intervals(run) else ""
        return f"Weights of step {run.best_step}, selected on validation data only.{ranges}"
    return f"The run is unfinished: validation at step {run.best_step}, the best so far."


def _has_intervals(run: StoredRun) -> bool:
    return "test_intervals" in run.results


def _interval(run: StoredRun, split: str, value: float | None, task: str, metric: str) -> str:
    """A number, with its confidence interval where there is one."""
    return spread(value, _value(run.results.get(f"{split}_intervals", {}), task, metric))


def _delta(run: StoredRun) -> list[str]:
    delta = run.results.get("delta_percent")
    if delta is None:
        return []
    reference = escape(str(run.results.get("reference") or "the given reference"))
    text = f"On test data {percent(delta)} relative to {reference}, averaged over tasks."
    return [element("p", text)]


def _task(run: StoredRun, task: str, rows: int) -> str:
    unit = run.unit(task)
    tail = " " + element("span", f"({escape(unit)})", class_="unit") if unit else ""
    return cell(escape(task) + tail, tag="th", rows=rows)


def _metric(run: StoredRun, task: str, metric: str) -> str:
    direction = arrow(run.higher_is_better(task, metric))
    return escape(words(metric)) + (
        " " + element("span", direction, class_="dim") if direction else ""
    )


def _value(table: Mapping[str, Any], task: str, metric: str) -> float | None:
    return table.get(task, {}).get(metric)
