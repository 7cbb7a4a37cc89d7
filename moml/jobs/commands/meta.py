"""The command behind ``moml meta``: one few-shot run, from options to a run folder."""

from __future__ import annotations

from moml.jobs import catalog
from moml.jobs.config import Parser
from moml.jobs.few_shot import FewShotJob
from moml.jobs.start import RunCommand, print_selected


class MetaParser(Parser):
    """Options of a `moml.jobs.few_shot.FewShotJob`."""

    builds = FewShotJob
    command = "meta"
    classes = {  # noqa: RUF012 - as in the base class
        "suite": "few_shot_suites",
        "weighting": "weightings",
        "method": "meta_methods",
    }


def meta_parser() -> MetaParser:
    """The parser of everything a `moml.jobs.few_shot.FewShotJob` takes."""
    catalog.load("tasks")  # at run time only: makes the suites known by name
    parser = MetaParser(
        prog="moml meta", description="Meta-train a few-shot learner for several objectives."
    )
    parser.add_config()
    parser.add_class_arguments(FewShotJob, as_positional=False)
    parser.set_defaults({"method": "MAML", "weighting": "EW", "optimizer": "Adam"})
    return parser


COMMAND = RunCommand(
    "meta",
    meta_parser,
    ("suite", "method", "weighting"),
    print_selected,
    further="steps",
)
