"""Results in files of their own, so that a broken run goes on where it was."""

from __future__ import annotations

import json
import multiprocessing
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from moml._support.files import write_json


def run_shards(
    work: Callable[..., dict[str, Any]],
    jobs: Mapping[str, Mapping[str, Any]],
    folder: Path,
    *,
    processes: int,
) -> dict[str, dict[str, Any]]:
    """Compute what has no file yet; return all results by name.

    Args:
        work: A module's function, called with a job's arguments.
        jobs: Arguments by the name of the file.
        folder: Where the files are.
        processes: How many at a time; one stays in this process.
    """
    folder.mkdir(parents=True, exist_ok=True)
    left = [name for name in jobs if not (folder / f"{name}.json").exists()]
    if processes == 1 or len(left) < 2:
        for done, name in enumerate(left, start=1):
            _write(folder, name, work(**jobs[name]), f"{done}/{len(left)}")
    else:
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(processes, mp_context=context) as pool:
            futures = {pool.submit(work, **jobs[name]): name for name in left}
            for done, future in enumerate(as_completed(futures), start=1):
                _write(folder, futures[future], future.result(), f"{done}/{len(left)}")
    return {name: json.loads((folder / f"{name}.json").read_text()) for name in jobs}


def _write(folder: Path, name: str, result: Mapping[str, Any], progress: str) -> None:
    write_json(folder / f"{name}.json", result)
    print(f"  [{progress}] {name}", flush=True)


def spread(values: list[float], *, digits: int = 1) -> str:
    """Mean ± sample standard deviation."""
    text = f"{fmean(values):.{digits}f}"
    return f"{text} ± {stdev(values):.{digits}f}" if len(values) > 1 else text
