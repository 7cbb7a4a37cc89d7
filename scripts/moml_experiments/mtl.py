"""Learnt task weights (MOML, AutoLambda, FORUM) against tuned weightings on multi-task suites.

Runs are those of ``moml compare``: same network, same number of steps of its parameters, the
learning rate of every method chosen on validation data, test data looked at once.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from moml.cli.compare import compare
from moml.report import write_comparison
from moml.report.comparison import Comparison
from moml.report.comparison_table import comparison_table
from moml.report.html import cell, element, escape, section, table
from moml.jobs.sweep import workers

SETTINGS: dict[str, dict[str, Any]] = {
    "EW": {"weighting": {"class_path": "EW"}},
    "MGDA": {"weighting": {"class_path": "MGDA"}},
    "MOML": {"method": {"class_path": "MOML"}},
    "MOML, fast weights": {"method": {"class_path": "MOML", "init_args": {"upper_rate": 0.02}}},
    "AutoLambda": {"method": {"class_path": "AutoLambda"}},
    "FORUM": {"method": {"class_path": "FORUM"}},
}
SMOKE_METHODS = ("EW", "MOML", "FORUM")
FULL: dict[str, Any] = {
    "suites": {"TwoDigits": {"steps": 300, "batch_size": 64}, "OfficeDigits": {"steps": 300}},
    "seeds": [0, 1, 2], "rates": [1e-3, 3e-3],
}  # fmt: skip
SMOKE: dict[str, Any] = {
    "suites": {"OfficeDigits": {"steps": 8, "batch_size": 8}}, "seeds": [0], "rates": [3e-3],
}  # fmt: skip


def run(out: Path, *, smoke: bool, jobs: int) -> str:
    """Compare on every suite, and write the section."""
    scale = SMOKE if smoke else FULL
    settings = {m: SETTINGS[m] for m in SMOKE_METHODS} if smoke else SETTINGS
    parts = []
    for suite, options in scale["suites"].items():
        folder = out / "mtl" / ("smoke" if smoke else "full") / suite
        common = {"suite": {"class_path": suite}, "architecture": "HPS", **options}
        common["eval_every"] = max(options["steps"] // 5, 1)
        with workers(jobs) as pool:
            rows = compare(
                settings, common, folder, rates=scale["rates"], seeds=scale["seeds"],
                tuned="all" if len(scale["rates"]) > 1 else "none", pool=pool,
            )  # fmt: skip
        page = write_comparison(rows, folder)
        parts += [_table(rows, suite, options["steps"]), _link(page, out)]
    note = (
        "Test data, weights selected on validation data, mean over seeds ± sample standard "
        "deviation. Equal steps of the network's parameters; what a method evaluates besides shows "
        "in the CPU time. MOML, AutoLambda and FORUM judge their task weights on a fifth of the "
        "training split."
    )
    return section("Task weights", *parts, note=escape(note))


def _table(rows: list[dict[str, Any]], suite: str, steps: int) -> str:
    content = comparison_table(Comparison(rows))
    head = [
        cell(escape(first) + (f"<br>{escape(second)}" if second else ""), tag="th",
             class_="num" if i else "")
        for i, (first, second) in enumerate(content.titles)
    ]  # fmt: skip
    lines = []
    for row in content.rows:
        print("  " + "  ".join(f"{entry.text:>18s}" for entry in row))
        texts = [cell(escape(e.text), class_="num best" if e.best else "num") for e in row[1:]]
        lines.append([cell(escape(row[0].text), tag="th"), *texts])
    return element("h3", escape(f"{suite}, {steps} steps")) + table(head, lines)


def _link(page: Path, out: Path) -> str:
    return element(
        "p", element("a", "Comparison, pictures and runs", href=page.relative_to(out).as_posix())
    )
