"""``moml compare``: weightings, methods and architectures over seeds on one suite, equal budgets.

Budgets are equal in the number of steps of the network's parameters; what a bi-level method
evaluates besides shows in the CPU time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from pathlib import Path
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
from moml.cli.single import single_task_reference
from moml.jobs import catalog
from moml.jobs.config import dump
from moml.jobs.lock import locked
from moml.jobs.sweep import SweepRun, at_edge, check_settings, run_jobs, tune, workers


def run(argv: Sequence[str]) -> int:
    """Tune, run every method on every seed, write one table and one picture."""
    parser = sweep_parser(
        "moml compare",
        "Compare weightings, methods and architectures over seeds at equal steps of the network.",
    )
    config = parser.parse(argv)
    check_options(config, argv)
    methods = {
        label: {key: chosen}
        for key in ("weighting", "method")
        for label, chosen in _choices(config[f"{key}s"], f"{key}s").items()
    }
    if twice := set(_choices(config.weightings, "weightings")) & set(
        _choices(config.methods, "methods")
    ):
        raise ValueError(
            f"`weightings` and `methods` should have labels of their own, found {sorted(twice)} "
            "in both."
        )
    if config.architectures:
        chosen = _choices(config.architectures, "architectures")
        methods = {
            f"{name} + {label}": {**settings, "architecture": made}
            for name, made in chosen.items()
            for label, settings in methods.items()
        }
    common = common_settings(config)
    folder = Path(config.output or f"runs/compare-{common['suite']['class_path'].split('.')[-1]}")
    rates = learning_rates(parser, config)
    seeds = config.seeds
    check_settings(methods, common)
    text = dump(parser, config)
    check_folder(folder, "compare", yaml.safe_load(text))
    with locked(folder), workers(config.jobs) as pool:
        write_text(folder / "config.yaml", text)
        if config.references:
            path = folder / "reference.json"
            single = folder / "single"
            single_task_reference(common, single, path, rates=rates, seeds=seeds, pool=pool)
            common["reference"] = str(path)
        rows = compare(
            methods, common, folder, rates=rates, seeds=seeds, tuned=config.tune, pool=pool
        )
    _conclude(rows, folder)
    return 0


def compare(
    settings: Mapping[str, Mapping[str, Any]],
    common: Mapping[str, Any],
    folder: Path,
    *,
    rates: Sequence[float],
    seeds: Sequence[int],
    tuned: str,
    pool: Executor,
) -> list[dict[str, Any]]:
    """Results of every method on every seed, at a learning rate chosen on validation data."""

    def execute(jobs: list[SweepRun]) -> dict[SweepRun, dict[str, Any]]:
        return run_jobs(jobs, common, folder, pool=pool)

    chosen, edge = dict.fromkeys(settings, rates[0]), dict.fromkeys(settings, False)
    if tuned != "none":
        first = next(iter(settings))
        some = settings if tuned == "all" else {first: settings[first]}
        print(f"Tuning the learning rate of {', '.join(some)} on seed {seeds[0]}:")
        found = tune(some, rates, seeds[0], execute)
        chosen = {label: found.get(label, found[first]) for label in settings}
        edge = {label: at_edge(found, label, rates) for label in settings}
    print("Learning rates: " + ", ".join(f"{k} {v:g}" for k, v in chosen.items()))
    jobs = [
        SweepRun(label, {**settings[label], "learning_rate": chosen[label], "seed": seed})
        for label in settings
        for seed in seeds
    ]
    results = execute(jobs)
    failed = [job.folder for job in jobs if "failed" in results[job]]
    if failed:
        print(f"Left out because they diverged: {', '.join(failed)}")
    return [
        results[job] | {"rate_at_edge": edge[job.label], "report": f"{job.folder}/report.html"}
        for job in jobs
        if "failed" not in results[job]
    ]


def _conclude(rows: list[dict[str, Any]], folder: Path) -> None:
    from rich.console import Console

    from moml.report import summary_table, write_comparison

    write_json(folder / "comparison.json", rows)
    page = write_comparison(rows, folder)
    Console().print(summary_table(rows))
    print(f"Page: {page}")


def _choices(entries: Sequence[str | dict[str, Any]], kind: str) -> dict[str, Any]:
    """Classes by label.

    Raises:
        ValueError: If an entry is none, or two have one label.
    """
    found: dict[str, Any] = {}
    for entry in entries:
        label, chosen = _choice(entry, kind)
        if label in found:
            raise ValueError(
                f"`{kind}` should have a label of its own for each entry, found '{label}' twice. "
                "Write {class_path: …, label: …}."
            )
        found[label] = chosen
    return found


def _choice(entry: str | dict[str, Any], kind: str) -> tuple[str, Any]:
    """A label, and the class behind it."""
    if isinstance(entry, str):
        known = catalog.names(kind)
        if entry.isidentifier() and entry not in known:
            raise ValueError(
                f"`{kind}` should be among {', '.join(known)}, or class paths, found "
                f"'{entry}'.{catalog.hint(entry, known)}"
            )
        return entry.rsplit(".", 1)[-1], {"class_path": entry}
    entry = dict(entry)
    keys = ("class_path", "init_args", "label")
    for key in entry:
        if key not in keys:
            raise ValueError(
                f"`{kind}` should have entries of {', '.join(keys)}, found '{key}'."
                f"{catalog.hint(str(key), keys)}"
            )
    if "class_path" not in entry:
        raise ValueError(f"`{kind}` should have a class_path in every entry, found {entry}.")
    name = str(entry["class_path"]).rsplit(".", 1)[-1]
    arguments = entry.get("init_args") or {}
    described = ",".join(f"{key}={value}" for key, value in arguments.items())
    return entry.pop("label", f"{name}({described})" if described else name), entry
