"""``moml retrain GENOTYPE``: one architecture from scratch, clean or adversarial, and attacked."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from jsonargparse import Namespace

from moml.cli.parser import Parser, arguments, dump
from moml.cli.train import (
    finish_run,
    report_outcome,
    resumed_config,
    resumed_folder,
    run_folder,
    run_settings,
    start_run,
)
from moml.retrainer import Retrainer


class RetrainParser(Parser):
    """Options of a `moml.retrainer.Retrainer`."""

    builds = Retrainer
    classes = {"space": "spaces", "suite": "suites"}  # noqa: RUF012 - as in the base class

    def parse(self, argv: Sequence[str]) -> Namespace:
        """Parse; one task needs no weighting."""
        config = super().parse(argv)
        config.pop("weighting", None)
        return config


def run(argv: Sequence[str]) -> int:
    """Retrain, or continue; return the exit status."""
    resumed = resumed_folder(argv)
    if resumed is not None:
        path = resumed_config(resumed, argv, command="retrain")
        plain = retrain_parser()
        trainer = Retrainer(**arguments(plain, plain.parse(["--config", str(path)])))
        return _report(resumed, finish_run(trainer, resumed, resume=True))
    parser = retrain_parser()
    parser.add_argument(
        "--run_dir", type=str, help="New folder for the run; under runs/ if not given."
    )
    parser.add_argument(
        "--resume", type=str, help="Run folder to continue; its own settings apply."
    )
    config = parser.parse(_with_option(argv))
    folder = run_folder(config, ("space",), command="retrain")
    settings, plain = run_settings(config), retrain_parser()
    trainer, text = Retrainer(**arguments(plain, settings)), dump(plain, settings)
    return _report(folder, start_run(trainer, text, folder, command="retrain"))


def retrain_parser() -> RetrainParser:
    """The parser of everything a `moml.retrainer.Retrainer` takes."""
    for package in ("tasks", "search_spaces"):  # at run time only: makes names known
        import_module(package)
    parser = RetrainParser(
        prog="moml retrain",
        usage="moml retrain GENOTYPE [options]",
        description="Train one architecture from scratch and attack it.",
    )
    parser.add_argument("--config", action="config", help="YAML file.")
    parser.add_class_arguments(Retrainer, as_positional=False)
    parser.set_defaults({"suite": "Digits"})
    return parser


def _report(folder: Path, results: dict[str, Any]) -> int:
    """Say how the run ended; return the exit status."""
    if "stopped" in results:
        return report_outcome(folder, results, command="retrain")
    for task, found in results["test"].items():
        values = "  ".join(f"{name} {value:.4g}" for name, value in found.items())
        print(f"  test {task}: {values}")
    print(
        f"{results['training']} training, {results['parameters']} parameters, attacks of radius "
        f"{results['eps']:g}. Page: {folder / 'report.html'}"
    )
    return 0


def _with_option(argv: Sequence[str]) -> list[str]:
    """The genotype may come first, without ``--genotype``."""
    if argv and not argv[0].startswith("-"):
        return [f"--genotype={argv[0]}", *argv[1:]]
    return list(argv)
