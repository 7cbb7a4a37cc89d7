"""``report.html``: one page that tells what a run did."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path

from moml.report.charts import (
    conflict_section,
    curve_sections,
    gradient_section,
    loss_section,
    metric_section,
    weight_section,
)
from moml.report.comparison_page import write_comparison
from moml.report.heat_map import heat_style
from moml.report.html import details, element, escape
from moml.report.page import page
from moml.report.results import fact_tiles, result_section
from moml.report.run import StoredRun, read_run
from moml.report.search import search_section

__all__ = ["write_report", "write_reports"]


def write_report(run_dir: str | Path) -> Path:
    """Write ``report.html`` into a run folder, finished or not.

    Args:
        run_dir: The run folder.

    Returns:
        Path of the page.

    Raises:
        ValueError: If it is not a run folder.
    """
    run = read_run(run_dir)
    path = run.folder / "report.html"
    path.write_text(report_page(run), encoding="utf-8")
    return path


def write_reports(
    run_dirs: Sequence[str | Path], *, output: str | Path | None = None
) -> list[Path]:
    """Write a page for every run and, for several finished ones, a page that compares them.

    Args:
        run_dirs: Run folders, or folders of `moml compare`.
        output: Folder of the comparison; the deepest folder that holds all runs unless given.

    Returns:
        Paths of the pages, the comparison last.

    Raises:
        ValueError: If there is no folder, one is not a run folder, or suites differ.
    """
    if not run_dirs:
        raise ValueError("`run_dirs` should name at least one run folder, found none.")
    comparisons = [Path(one) for one in run_dirs if (Path(one) / "comparison.json").exists()]
    pages = [
        write_comparison(json.loads((one / "comparison.json").read_text(encoding="utf-8")), one)
        for one in comparisons
    ]
    paths = [write_report(one) for one in run_dirs if Path(one) not in comparisons]
    finished = [path.parent for path in paths if (path.parent / "results.json").exists()]
    if len(finished) < 2:
        return [*paths, *pages]
    if output is None:
        output = os.path.commonpath([folder.resolve().parent for folder in finished])
    rows = [
        json.loads((folder / "results.json").read_text(encoding="utf-8"))
        | {"report": os.path.relpath(folder / "report.html", output)}
        for folder in finished
    ]
    return [*paths, *pages, write_comparison(rows, output)]


def report_page(run: StoredRun) -> str:
    """The page as HTML."""
    method = "weighting" if run.setting("method") is None else "method"
    names = [
        str(name) for key in ("suite", "space", method) if (name := run.setting(key)) is not None
    ]
    content = [
        fact_tiles(run),
        search_section(run) or result_section(run),
        loss_section(run),
        metric_section(run),
        curve_sections(run),
        weight_section(run),
        conflict_section(run),
        gradient_section(run),
        _configuration(run),
    ]
    title = " with ".join(names) or run.folder.name
    return page(
        title, f"Run {run.folder.resolve().name}", filter(None, content), style=heat_style()
    )


def _configuration(run: StoredRun) -> str:
    if not run.config_text:
        return ""
    return element(
        "section", details("Configuration", element("pre", escape(run.config_text.strip())))
    )
