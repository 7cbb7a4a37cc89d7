"""``moml meta``: one few-shot run, from options or a recipe to a run folder."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import yaml

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
from moml.meta_trainer import MetaTrainer


class MetaParser(Parser):
    """Options of a `moml.meta_trainer.MetaTrainer`."""

    builds = MetaTrainer
    classes = {  # noqa: RUF012 - as in the base class
        "suite": "few_shot_suites",
        "weighting": "weightings",
        "method": "meta_methods",
    }


def run(argv: Sequence[str]) -> int:
    """Meta-train, or continue a run; return the exit status."""
    parser = meta_parser()
    parser.add_argument(
        "--run_dir", type=str, help="New folder for the run; under runs/ if not given."
    )
    parser.add_argument(
        "--resume", type=str, help="Run folder to continue; its own settings apply."
    )
    resumed = resumed_folder(argv)
    if resumed is not None:
        trainer, _ = meta_trainer_from_file(resumed_config(resumed, argv, command="meta"))
        return report_outcome(resumed, finish_run(trainer, resumed, resume=True), command="meta")
    config = parser.parse(argv)
    folder = run_folder(config, ("suite", "method", "weighting"))
    settings, plain = run_settings(config), meta_parser()
    trainer, text = MetaTrainer(**arguments(plain, settings)), dump(plain, settings)
    results = start_run(trainer, text, folder, command="meta")
    return report_outcome(folder, results, command="meta")


def meta_parser() -> MetaParser:
    """The parser of everything a `moml.meta_trainer.MetaTrainer` takes."""
    import_module("tasks")  # at run time only: makes the suites known by name
    parser = MetaParser(
        prog="moml meta", description="Meta-train a few-shot learner for several objectives."
    )
    parser.add_argument("--config", action="config", help="YAML file, or a recipe's name.")
    parser.add_class_arguments(MetaTrainer, as_positional=False)
    parser.set_defaults({"method": "MAML", "weighting": "EW", "optimizer": "Adam"})
    return parser


def meta_trainer_from_file(path: Path) -> tuple[MetaTrainer, dict[str, Any]]:
    """The trainer a run folder's ``config.yaml`` describes, and the configuration."""
    parser = meta_parser()
    config = parser.parse(["--config", str(path)])
    return MetaTrainer(**arguments(parser, config)), yaml.safe_load(path.read_text())
