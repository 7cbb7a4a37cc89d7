"""Many runs at equal budget: methods, learning rates and seeds, in several processes."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import import_module
from multiprocessing import active_children, get_context, parent_process
from pathlib import Path
from threading import Thread
from typing import Any

import yaml

from moml._support.files import read_json
from moml.errors import NonFiniteError
from moml.jobs import catalog


@dataclass(frozen=True)
class SweepRun:
    """One run of a sweep.

    Attributes:
        label: The method, as tables name it.
        settings: Options of ``moml train`` that differ from run to run.
    """

    label: str
    settings: Mapping[str, Any] = field(hash=False)

    @property
    def folder(self) -> str:
        """Name of its run folder."""
        rate = self.settings.get("learning_rate")
        label = re.sub(r"[/\\\0]", "_", self.label)
        return f"{label}-lr{rate:g}-seed{self.settings['seed']}"


@contextmanager
def workers(processes: int) -> Iterator[Executor]:
    """Processes for all jobs of a command: starting one costs as much as a short run.

    Where the command ends early they stop after the step they are in, with a checkpoint; where it
    is killed they end with it.
    """
    others = set(active_children())
    pool = ProcessPoolExecutor(processes, mp_context=get_context("spawn"), initializer=_warm_up)
    try:
        yield pool
    except BaseException:
        for child in set(active_children()) - others:
            child.terminate()
        pool.shutdown(cancel_futures=True)
        raise
    pool.shutdown()


def _warm_up() -> None:
    """Import what runs need, so that the first one's CPU time is not that of imports."""
    Thread(target=_end_with_the_command, daemon=True).start()
    for name in ("torchmetrics", "torch.utils.tensorboard", "scipy.optimize", "moml.report"):
        import_module(name)
    catalog.load("tasks")


def _end_with_the_command() -> None:
    """Leave nobody behind who goes on in the run folders: checkpoints are there to go on from."""
    command = parent_process()
    if command is not None:
        command.join()
        os._exit(1)


def check_settings(methods: Mapping[str, Mapping[str, Any]], common: Mapping[str, Any]) -> None:
    """Look at the options of every method before the first run.

    Raises:
        ValueError: If those of one are wrong.
    """
    from moml.jobs.config import train_parser

    for settings in methods.values():
        train_parser().parse_object({**common, **settings})


def run_jobs(
    jobs: Iterable[SweepRun],
    common: Mapping[str, Any],
    folder: Path,
    *,
    pool: Executor,
    announce: Callable[[str], None] = print,
) -> dict[SweepRun, dict[str, Any]]:
    """Run what is not finished yet; a run that was interrupted is continued.

    Args:
        jobs: What to run.
        common: Options of ``moml train`` that all runs share.
        folder: Holds one run folder per job.
        pool: Runs them, see `workers`.
        announce: Gets a line per finished run.

    Returns:
        The results of every job.
    """
    unique = {job.folder: job for job in jobs}
    results: dict[SweepRun, dict[str, Any]] = {}
    open_jobs = []
    for name, job in unique.items():
        file = folder / name / "results.json"
        if file.exists():
            results[job] = read_json(file)
        else:
            open_jobs.append(job)
    futures = {
        pool.submit(run_one, {**common, **job.settings}, str(folder / job.folder)): job
        for job in open_jobs
    }
    for done, future in enumerate(as_completed(futures), start=1):
        job = futures[future]
        results[job] = future.result()
        outcome = results[job].get("failed") or f"{results[job]['cpu_seconds']:.0f} CPU s"
        announce(f"  [{done}/{len(open_jobs)}] {job.folder}  {outcome}")
    for job, result in results.items():
        result["label"] = job.label
    return results


def run_one(settings: Mapping[str, Any], folder: str) -> dict[str, Any]:
    """One run in this process, from scratch or continued.

    A run that diverges does not end the sweep: its result is ``{"failed": why}``.

    Raises:
        ValueError: If it was stopped by a signal, or its settings are wrong.
    """
    from moml.jobs.config import build_job, dump, read_config, train_parser
    from moml.jobs.start import finish_run, start_run

    path = Path(folder)
    parser = train_parser()
    config = parser.parse_object(dict(settings))
    job = build_job(parser, config)
    text = dump(parser, config, job.settings())
    file = path / "config.yaml"
    try:
        if file.exists() and read_config(file) == yaml.safe_load(text):
            results = finish_run(job, path, resume=True, quiet=True)
        else:
            results = start_run(job, text, path, quiet=True)
    except NonFiniteError as error:
        return {"failed": str(error)}
    if "stopped" in results:
        raise ValueError(f"Run '{path.name}' was stopped: {results['stopped']}.")
    return results


def tune(
    labels: Mapping[str, Mapping[str, Any]],
    rates: Sequence[float],
    seed: int,
    run: Callable[[list[SweepRun]], dict[SweepRun, dict[str, Any]]],
) -> dict[str, float]:
    """The learning rate with the best validation score, per method, on one seed."""
    jobs = [
        SweepRun(label, {**settings, "learning_rate": rate, "seed": seed})
        for label, settings in labels.items()
        for rate in rates
    ]
    results = run(jobs)
    best: dict[str, tuple[float, float]] = {}
    for job, result in results.items():
        if "failed" in result:
            continue
        entry = (result["val_score"], job.settings["learning_rate"])
        best[job.label] = max(best.get(job.label, entry), entry)
    lost = [label for label in labels if label not in best]
    if lost:
        raise ValueError(
            f"`learning_rates` should hold one at which {lost} converges, found {list(rates)}."
        )
    return {label: rate for label, (_, rate) in best.items()}


def at_edge(
    chosen: Mapping[str, float],
    label: str,
    rates: Sequence[float],
    *,
    announce: Callable[[str], None] = print,
) -> bool:
    """Say that a chosen rate is the smallest or largest one tried: a better one may lie beyond.

    Args:
        chosen: Rates by label.
        label: Whose.
        rates: Those tried.
        announce: Gets a line if it is so.
    """
    rate = chosen.get(label)
    if rate is None or len(set(rates)) == 1 or min(rates) < rate < max(rates):
        return False
    tried = ", ".join(f"{one:g}" for one in sorted(rates))
    announce(
        f"  {label}: the best rate, {rate:g}, is at the edge of those tried ({tried}). "
        "Try others with `--learning_rates`."
    )
    return True
