"""``moml evaluate``: a finished run on a split."""

from __future__ import annotations

import json
from collections.abc import Sequence

from moml.cli._plain_parser import PlainParser
from moml.jobs.load import load_run


def run(argv: Sequence[str]) -> int:
    """Print losses and metrics as JSON."""
    parser = PlainParser(prog="moml evaluate", description="Evaluate a finished run on a split.")
    parser.add_argument("run", type=str, help="Run folder.")
    parser.add_argument("--split", choices=["train", "val", "test"], default="test")
    parser.add_argument("--weights", choices=["best", "last"], default="best")
    options = parser.parse_args(list(argv))
    scores = load_run(options.run, weights=options.weights).evaluate(options.split)
    found = {"losses": scores.losses, "metrics": scores.metrics}
    if scores.intervals is not None:
        found["intervals"] = scores.intervals
    print(json.dumps(found, indent=2))
    return 0
