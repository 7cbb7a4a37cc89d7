"""The command line: ``moml COMMAND …`` or ``python -m moml COMMAND …``."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from importlib import import_module

from moml._support.hints import hint
from moml._support.launch import Launch

_COMMANDS = {
    "train": "train one multi-task model",
    "meta": "meta-train a few-shot learner for several objectives",
    "compare": "compare weightings over seeds at equal budget",
    "single": "train each task alone: the reference that Δ% needs",
    "describe": "show which tasks share which parts of a network, and what it costs",
    "search": "search for accurate, robust and small architectures",
    "retrain": "train one architecture of a search space from scratch and attack it",
    "evaluate": "evaluate a finished run on a split",
    "front": "trace a Pareto front by a spread of preferences",
    "report": "write the page of one or several runs",
    "attack": "attack every task of a finished run: MTA, GAP, UAP, PGD, …",
    "robustness": "attack every task of a finished run: its robustness card",
    "data": "look at a suite's data: layout, samples, shapes, labels",
    "list": "list weightings, methods, architectures, suites, …",
}


_ONE_PROCESS = (
    "`torchrun` should start `moml train`, found this command, which would run once in every "
    "process. Start it without."
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; return the exit status."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if not arguments or arguments[0] in ("-h", "--help"):
        print(_usage())
        return 0
    if arguments[0] == "--version":
        print(f"moml {import_module('moml').__version__}")
        return 0
    command, rest = arguments[0], arguments[1:]
    if command not in _COMMANDS:
        print(f"moml: unknown command '{command}'.{hint(command, _COMMANDS)}", file=sys.stderr)
        return 2
    if command != "train" and Launch.current().count > 1:
        print(f"moml {command}: {_ONE_PROCESS}", file=sys.stderr)
        return 2
    _look_here_last()
    try:
        return int(import_module(f"moml.cli.{command}").run(rest))
    except BrokenPipeError:
        return 0
    except KeyboardInterrupt:
        print(f"moml {command}: interrupted.", file=sys.stderr)
        return 128 + signal.SIGINT
    except Exception as error:
        from moml.cli.sentence import sentence, wanted

        if wanted():
            raise
        print(f"moml {command}: {sentence(error)}", file=sys.stderr)
        return 2


def _look_here_last() -> None:
    """Find a user's own classes in the current folder, but no package of moml's there.

    The console script does not look there at all, ``python -m`` looks there first.
    """
    here = os.getcwd()
    if sys.path and sys.path[0] in ("", here) and not _lies_in(here):
        del sys.path[0]
    if here not in sys.path:
        sys.path.append(here)


def _lies_in(folder: str) -> bool:
    return os.path.samefile(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), folder)


def _usage() -> str:
    lines = [f"  {name:10s} {summary}" for name, summary in _COMMANDS.items()]
    return "\n".join(
        [
            "usage: moml COMMAND [options]",
            "",
            "commands:",
            *lines,
            "",
            "`moml COMMAND --help` for more.",
        ]
    )


if __name__ == "__main__":
    sys.exit(main())
