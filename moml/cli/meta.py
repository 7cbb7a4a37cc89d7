"""``moml meta``: one few-shot run, from options or a recipe to a run folder."""

from __future__ import annotations

from collections.abc import Sequence

from moml import catalog
from moml.cli.parser import Parser
from moml.cli.run_command import RunCommand, print_selected
from moml.meta_trainer import MetaTrainer


class MetaParser(Parser):
    """Options of a `moml.meta_trainer.MetaTrainer`."""

    builds = MetaTrainer
    command = "meta"
    classes = {  # noqa: RUF012 - as in the base class
        "suite": "few_shot_suites",
        "weighting": "weightings",
        "method": "meta_methods",
    }


def meta_parser() -> MetaParser:
    """The parser of everything a `moml.meta_trainer.MetaTrainer` takes."""
    catalog.load("tasks")  # at run time only: makes the suites known by name
    parser = MetaParser(
        prog="moml meta", description="Meta-train a few-shot learner for several objectives."
    )
    parser.add_config()
    parser.add_class_arguments(MetaTrainer, as_positional=False)
    parser.set_defaults({"method": "MAML", "weighting": "EW", "optimizer": "Adam"})
    return parser


COMMAND = RunCommand(
    "meta",
    meta_parser,
    ("suite", "method", "weighting"),
    print_selected,
    further="steps",
)


def run(argv: Sequence[str]) -> int:
    """Meta-train, or continue a run; return the exit status."""
    return COMMAND.run(argv)
