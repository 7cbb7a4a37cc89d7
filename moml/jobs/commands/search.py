"""The command behind ``moml search``: one architecture search, from options to a run folder."""

from __future__ import annotations

import json
from pathlib import Path

from moml.jobs import catalog
from moml.jobs.config import Parser
from moml.jobs.search import SearchJob, describe
from moml.jobs.start import Results, RunCommand
from moml.nas.genotype import Genotype


class SearchParser(Parser):
    """Options of a `moml.jobs.search.SearchJob`."""

    builds = SearchJob
    command = "search"
    classes = {  # noqa: RUF012 - as in the base class
        "space": "spaces",
        "suite": "suites",
        "weighting": "weightings",
        "method": "search_methods",
    }


def search_parser() -> SearchParser:
    """The parser of everything a `moml.jobs.search.SearchJob` takes."""
    for package in ("tasks", "search_spaces"):  # at run time only: makes names known
        catalog.load(package)
    parser = SearchParser(
        prog="moml search", description="Search for accurate, robust and small architectures."
    )
    parser.add_config()
    parser.add_class_arguments(SearchJob, as_positional=False)
    parser.set_defaults({"suite": "Digits", "method": "ParetoSearch"})
    return parser


def _report(folder: Path, results: Results) -> None:
    print("  front, on test data (clean, pgd, parameters):")
    for entry in results["front"]:
        genotype = Genotype.from_json(json.dumps(entry["genotype"]))
        test = entry["test"]
        print(
            f"  {test['clean']:.3f}  {test['pgd']:.3f}  {entry['parameters']:7d}  "
            f"{entry['file']}  {describe(genotype)}"
        )
    failed = f", {results['failed']} trainings failed" if results["failed"] else ""
    print(f"{results['trained']} networks trained{failed}. Page: {folder / 'report.html'}")


COMMAND = RunCommand(
    "search",
    search_parser,
    ("space", "suite", "method"),
    _report,
    "search",
    further="budget",
)
