"""``moml describe``: what a network consists of, what it shares, what it costs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from moml.jobs.config import build_job, train_parser

if TYPE_CHECKING:
    from rich.table import Table

    from moml.report.anatomy import Anatomy

SAMPLES = 4


def run(argv: Sequence[str]) -> int:
    """Build the network that ``moml train`` would train; print its parts and costs."""
    from rich.console import Console

    from moml.report.anatomy import anatomy

    parser = train_parser()
    parser.prog = "moml describe"
    parser.belongs_to("describe", takes=["train"])
    parser.description = "Which tasks share which parts of a network, read off the autograd graph."
    parser.add_argument("--picture", type=str, help="File for a picture: SVG, PDF or PNG.")
    config = parser.parse(argv)
    picture = config.pop("picture", None)
    plain = train_parser()
    job = build_job(plain, config)
    batch = next(iter(job.suite.loader("val", batch_size=SAMPLES)))
    found = anatomy(job.architecture, batch.to(job.device).inputs)
    console = Console()
    console.print(_parts(found))
    console.print(_costs(found))
    if picture is not None:
        from moml.report.anatomy_picture import save_anatomy

        name = type(job.architecture).__name__
        save_anatomy(Path(picture), found, title=f"{name} on {job.suite_name}")
        print(f"Picture: {picture}")
    return 0


def _parts(found: Anatomy) -> Table:
    from moml.report.text import grouped

    table = _table("part", "parameters", "used by")
    for block in found.blocks:
        table.add_row(block.name, grouped(block.parameters), _users(block.tasks, found.tasks))
    table.add_row("total", grouped(found.parameters), "", style="bold")
    return table


def _users(tasks: Sequence[str], known: Sequence[str]) -> str:
    if len(tasks) == len(known) > 1:
        return f"all {len(known)} tasks"
    return ", ".join(tasks) or "no task: never trained"


def _costs(found: Anatomy) -> Table:
    from moml.report.text import grouped

    table = _table("task", "parameters used", "of its own", "multiply-adds per sample")
    for task in found.tasks:
        numbers = (found.used(task), found.own(task), found.multiply_adds[task])
        table.add_row(task, *map(grouped, numbers))
    if len(found.tasks) > 1:
        table.add_row("all", grouped(found.parameters), "", grouped(found.together), style="bold")
    return table


def _table(*titles: str) -> Table:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in titles:
        table.add_column(title, justify="left" if title in ("part", "task", "used by") else "right")
    return table
