"""``moml robustness``: the robustness card of a finished run."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Sequence
from pathlib import Path

from moml._support.files import write_json
from moml.attack import L1, L2, Linf
from moml.attack.card import MaskedGradients, robustness_card
from moml.data.declared_bounds import BoundsOption, data_bounds
from moml.jobs.config import Parser
from moml.jobs.load import load_multi_task_run
from moml.jobs.preflight import positive

_NORMS = {"Linf": Linf, "L2": L2, "L1": L1}


def run(argv: Sequence[str]) -> int:
    """Attack every task, write ``robustness.json`` and ``robustness.html``; 1 if masked."""
    from moml.report.robustness_page import write_robustness

    options = _parser().parse_plain(argv)
    for name in ("samples", "steps", "eot"):
        positive(name, options[name])
    trained = load_multi_task_run(options.run)
    bounds = data_bounds(trained.suite, options.bounds)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", MaskedGradients)  # printed below
        card = robustness_card(
            trained.model,
            trained.job.loader(options.split),
            {task: spec.loss for task, spec in trained.suite.tasks.items()},
            _NORMS[options.norm](options.eps),
            bounds=bounds,
            samples=options.samples,
            steps=options.steps,
            eot=options.eot,
            device=trained.job.device,
            seed=options.seed,
            announce=lambda line: print(f"  {line}", flush=True),
        )
    folder = Path(options.run)
    write_json(folder / "robustness.json", card.to_dict())
    for name, task in card.tasks.items():
        print(f"  {name}: {task.score} {task.clean:.4g} clean, {task.worst:.4g} under attack")
        if task.random:
            print(
                f"  {name}: random network; gradients and scores are means of {task.passes} passes"
            )
    print(f"Page: {write_robustness(card.to_dict(), folder)}")
    for name, task in card.tasks.items():
        for flag in task.flags:
            print(f"Masked gradients, task '{name}': {flag}", file=sys.stderr)
    return int(card.masked)


def _parser() -> Parser:
    parser = Parser(prog="moml robustness", description="Robustness card of a run.")
    parser.add_argument("run", type=str, help="Run folder.")
    parser.add_argument("--eps", type=float, required=True, help="Radius, in units of the data.")
    parser.add_argument("--norm", choices=list(_NORMS), default="Linf")
    parser.add_argument(
        "--bounds",
        type=BoundsOption,
        default="suite",
        help="Smallest and largest value of the data; the suite's unless given, null for none.",
    )
    parser.add_argument("--split", choices=["train", "val", "test"], default="test")
    parser.add_argument("--samples", type=int, default=256, help="Samples per task.")
    parser.add_argument("--steps", type=int, default=100, help="Steps of APGD.")
    parser.add_argument(
        "--eot", type=int, default=20, help="Passes per gradient where the network is random."
    )
    parser.add_argument("--seed", type=int, default=0)
    return parser
