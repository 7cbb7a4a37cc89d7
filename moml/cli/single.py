"""``moml single``: each task alone, the reference that improvements are measured against."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from pathlib import Path
from statistics import fmean
from typing import Any

import yaml

from moml._support.files import write_json, write_text
from moml.cli._sweep_folder import check_folder
from moml.cli._sweep_options import (
    check_options,
    common_settings,
    learning_rates,
    sweep_parser,
)
from moml.data.subset import named
from moml.jobs.config import dump, train_parser
from moml.jobs.lock import locked
from moml.jobs.sweep import SweepRun, at_edge, run_jobs, tune, workers


def run(argv: Sequence[str]) -> int:
    """Train every task alone and write the reference file."""
    parser = sweep_parser("moml single", "Train each task alone, at a tuned rate, over seeds.")
    config = parser.parse(argv)
    check_options(config, argv)
    folder = Path(config.output or f"runs/single-{config.suite.class_path.split('.')[-1]}")
    rates = learning_rates(parser, config)
    path = folder / "reference.json"
    text = dump(parser, config)
    check_folder(folder, "single", yaml.safe_load(text))
    with locked(folder), workers(config.jobs) as pool:
        write_text(folder / "config.yaml", text)
        single_task_reference(
            common_settings(config), folder, path, rates=rates, seeds=config.seeds, pool=pool
        )
    print(path)
    return 0


def single_task_reference(
    common: Mapping[str, Any],
    folder: Path,
    path: Path,
    *,
    rates: Sequence[float],
    seeds: Sequence[int],
    pool: Executor,
) -> dict[str, Any]:
    """Train each task alone with equal weighting; write mean test metrics over seeds.

    The learning rate of each task is chosen on validation data of the first seed.
    """
    parser = train_parser()
    suite = parser.instantiate(parser.parse_object({**common, "weighting": "EW"})).suite
    names = list(named(suite, common.get("tasks")).tasks)
    plain = {key: value for key, value in common.items() if key != "tasks"}
    settings = {name: {"weighting": "EW", "tasks": [name]} for name in names}

    def execute(jobs: list[SweepRun]) -> dict[SweepRun, dict[str, Any]]:
        return run_jobs(jobs, plain, folder, pool=pool)

    print(f"Training {len(names)} tasks alone, tuning the learning rate on seed {seeds[0]}:")
    chosen = tune(settings, rates, seeds[0], execute)
    for name in names:
        at_edge(chosen, name, rates)
    jobs = [
        SweepRun(name, {**settings[name], "learning_rate": chosen[name], "seed": seed})
        for name in names
        for seed in seeds
    ]
    results = execute(jobs)
    test: dict[str, dict[str, float]] = {}
    for name in names:
        done = [results[job] for job in jobs if job.label == name]
        runs = [result["test"][name] for result in done if "failed" not in result]
        if not runs:
            raise ValueError(
                f"`learning_rates` should hold one at which '{name}' converges on every seed, "
                f"found {chosen[name]:g}: {done[0]['failed']}"
            )
        test[name] = {metric: fmean(run[metric] for run in runs) for metric in runs[0]}
    reference = {
        "suite": type(suite).__name__,
        "seeds": list(seeds),
        "learning_rates": chosen,
        "test": test,
    }
    folder.mkdir(parents=True, exist_ok=True)
    write_json(path, reference)
    return reference
