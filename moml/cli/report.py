"""``moml report``: the page of one run, or of several and their comparison."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from moml.cli._plain_parser import PlainParser


def run(argv: Sequence[str]) -> int:
    """Write the pages and say where."""
    from moml.report import write_reports

    parser = PlainParser(prog="moml report", description="Write the page of runs.")
    parser.add_argument("runs", type=str, nargs="+", help="Run folders.")
    parser.add_argument("--output", type=str, help="Folder of the comparison of several runs.")
    options = parser.parse_args(list(argv))
    output = None if options.output is None else Path(options.output)
    for page in write_reports([Path(folder) for folder in options.runs], output=output):
        print(page)
    return 0
