"""The command behind ``moml retrain``: one architecture, from options to a run folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from jsonargparse import Namespace

from moml.jobs import catalog
from moml.jobs.config import Parser
from moml.jobs.retrain import RetrainJob
from moml.jobs.start import Results, RunCommand


class RetrainParser(Parser):
    """Options of a `moml.jobs.retrain.RetrainJob`."""

    builds = RetrainJob
    command = "retrain"
    classes = {"space": "spaces", "suite": "suites"}  # noqa: RUF012 - as in the base class

    def parse(self, argv: Sequence[str]) -> Namespace:
        """Parse; one task needs no weighting."""
        config = super().parse(argv)
        config.pop("weighting", None)
        return config


def retrain_parser() -> RetrainParser:
    """The parser of everything a `moml.jobs.retrain.RetrainJob` takes."""
    for package in ("tasks", "search_spaces"):  # at run time only: makes names known
        catalog.load(package)
    parser = RetrainParser(
        prog="moml retrain",
        usage="moml retrain GENOTYPE [options]",
        description="Train one architecture from scratch and attack it.",
    )
    parser.add_config()
    parser.add_class_arguments(RetrainJob, as_positional=False)
    parser.set_defaults({"suite": "Digits"})
    return parser


def _report(folder: Path, results: Results) -> None:
    for task, found in results["test"].items():
        values = "  ".join(f"{name} {value:.4g}" for name, value in found.items())
        print(f"  test {task}: {values}")
    print(
        f"{results['training']} training, {results['parameters']} parameters, attacks of radius "
        f"{results['eps']:g}. Page: {folder / 'report.html'}"
    )


COMMAND = RunCommand("retrain", retrain_parser, ("space",), _report, "retrain")
