"""``moml search``: one architecture search, from options to a run folder with a front."""

from __future__ import annotations

import signal
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from moml.cli.parser import Parser, arguments, dump
from moml.cli.train import (
    finish_run,
    resumed_config,
    resumed_folder,
    run_folder,
    run_settings,
    start_run,
)
from moml.nas.genotype import Genotype
from moml.search_trainer import SearchTrainer, describe


class SearchParser(Parser):
    """Options of a `moml.search_trainer.SearchTrainer`."""

    builds = SearchTrainer
    classes = {  # noqa: RUF012 - as in the base class
        "space": "spaces",
        "suite": "suites",
        "weighting": "weightings",
        "method": "search_methods",
    }


def run(argv: Sequence[str]) -> int:
    """Search, or continue a search; return the exit status."""
    parser = search_parser()
    parser.add_argument(
        "--run_dir", type=str, help="New folder for the run; under runs/ if not given."
    )
    parser.add_argument(
        "--resume", type=str, help="Run folder to continue; its own settings apply."
    )
    resumed = resumed_folder(argv)
    if resumed is not None:
        trainer = search_from_file(resumed_config(resumed, argv, command="search"))
        return _report(resumed, finish_run(trainer, resumed, resume=True))
    config = parser.parse(argv)
    folder = run_folder(config, ("space", "suite", "method"), command="search")
    settings, plain = run_settings(config), search_parser()
    trainer, text = SearchTrainer(**arguments(plain, settings)), dump(plain, settings)
    return _report(folder, start_run(trainer, text, folder, command="search"))


def search_parser() -> SearchParser:
    """The parser of everything a `moml.search_trainer.SearchTrainer` takes."""
    for package in ("tasks", "search_spaces"):  # at run time only: makes names known
        import_module(package)
    parser = SearchParser(
        prog="moml search", description="Search for accurate, robust and small architectures."
    )
    parser.add_argument("--config", action="config", help="YAML file, or a recipe's name.")
    parser.add_class_arguments(SearchTrainer, as_positional=False)
    parser.set_defaults({"suite": "Digits", "method": "ParetoSearch"})
    return parser


def search_from_file(path: Path) -> SearchTrainer:
    """The search a run folder's ``config.yaml`` describes."""
    parser = search_parser()
    config = parser.parse(["--config", str(path)])
    return SearchTrainer(**arguments(parser, config))


def _report(folder: Path, results: dict[str, Any]) -> int:
    if "stopped" in results:
        name = results["stopped"].split()[0]
        print(f"Stopped by {results['stopped']}; continue with `moml search --resume {folder}`.")
        return 128 + int(signal.Signals[name])
    print("  front, on test data (clean, pgd, parameters):")
    for entry in results["front"]:
        genotype = Genotype.from_json(_text(entry["genotype"]))
        test = entry["test"]
        print(
            f"  {test['clean']:.3f}  {test['pgd']:.3f}  {entry['parameters']:7d}  "
            f"{entry['file']}  {describe(genotype)}"
        )
    print(f"{results['trained']} networks trained. Page: {folder / 'report.html'}")
    return 0


def _text(genotype: dict[str, Any]) -> str:
    import json

    return json.dumps(genotype)
