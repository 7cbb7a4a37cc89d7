"""``moml retrain GENOTYPE``: one architecture from scratch, clean or adversarial, and attacked."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from jsonargparse import Namespace

from moml import catalog
from moml.cli.parser import Parser
from moml.cli.run_command import Results, RunCommand
from moml.retrainer import Retrainer


class RetrainParser(Parser):
    """Options of a `moml.retrainer.Retrainer`."""

    builds = Retrainer
    command = "retrain"
    classes = {"space": "spaces", "suite": "suites"}  # noqa: RUF012 - as in the base class

    def parse(self, argv: Sequence[str]) -> Namespace:
        """Parse; one task needs no weighting."""
        config = super().parse(argv)
        config.pop("weighting", None)
        return config


def retrain_parser() -> RetrainParser:
    """The parser of everything a `moml.retrainer.Retrainer` takes."""
    for package in ("tasks", "search_spaces"):  # at run time only: makes names known
        catalog.load(package)
    parser = RetrainParser(
        prog="moml retrain",
        usage="moml retrain GENOTYPE [options]",
        description="Train one architecture from scratch and attack it.",
    )
    parser.add_config()
    parser.add_class_arguments(Retrainer, as_positional=False)
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


def run(argv: Sequence[str]) -> int:
    """Retrain, or continue; return the exit status."""
    if argv and not argv[0].startswith("-"):  # the genotype may come first
        argv = [f"--genotype={argv[0]}", *argv[1:]]
    return COMMAND.run(argv)
