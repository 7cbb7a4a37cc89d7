"""One job, one file: what is stored is not computed again."""

from __future__ import annotations

import json
import multiprocessing
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any

import torch
from mta.attacks import run_attacks
from mta.one_delta import run_one_delta, run_opposed
from mta.protocol import TUNED, VALIDATION_SEED, Scale
from mta.training import run_generator

from moml._support.files import write_json


@dataclass(frozen=True)
class Job:
    """Something to compute, and the name of its file."""

    kind: str
    scale: Scale
    setting: str = "base"
    method: str = ""
    seed: int = 0
    rate: float = 0.0

    def path(self, out: Path) -> Path:
        """Where its result is kept."""
        parts = [self.scale.name, self.kind, self.setting, self.method, str(self.seed)]
        parts += [f"{self.rate:g}"] if self.rate else []
        return out / "shards" / (" ".join(p for p in parts if p).replace(",", "") + ".json")


def execute(job: Job, out: Path) -> None:
    """Compute and write, whole or not at all."""
    torch.set_num_threads(1)
    runs = {
        "generator": run_generator,
        "attack": run_attacks,
        "one": run_one_delta,
        "opposed": run_opposed,
    }
    result = runs[job.kind](job, out)
    path = job.path(out)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, result)
    print(path.stem, flush=True)


def read(out: Path, job: Job) -> dict[str, Any]:
    """A stored result."""
    return json.loads(job.path(out).read_text())


def compute(jobs: Sequence[Job], out: Path, workers: int) -> None:
    """Whatever is not stored yet."""
    missing = [job for job in jobs if not job.path(out).exists()]
    if workers == 1:
        for job in missing:
            execute(job, out)
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context) as pool:
        for future in [pool.submit(execute, job, out) for job in missing]:
            future.result()


def trials(scale: Scale, setting: str, method: str) -> list[Job]:
    """What a method's learning rate in a setting is chosen by."""
    return [Job("generator", scale, setting, method, VALIDATION_SEED, r) for r in scale.rates]


def tuned(scale: Scale, out: Path, workers: int) -> dict[str, dict[str, float]]:
    """Learning rates by setting and method, by mean fooling on validation data of a seed apart.

    Settings without a choice of their own have the base's.
    """
    if len(scale.rates) == 1:
        return {setting: dict.fromkeys(scale.methods, scale.rates[0]) for setting in scale.settings}
    chosen: dict[str, dict[str, float]] = {}
    for setting in ("base", *(s for s in scale.settings if s in TUNED and s != "base")):
        compute([j for m in scale.methods for j in trials(scale, setting, m)], out, workers)
        chosen[setting] = {
            m: max(
                trials(scale, setting, m), key=lambda job: mean(fooled(read(out, job), "val"))
            ).rate
            for m in scale.methods
        }
    return {setting: chosen.get(setting, chosen["base"]) for setting in ("base", *scale.settings)}


def fooled(result: dict[str, Any], split: str = "test") -> list[float]:
    """Percent per task."""
    return [100 * task["fooled"] for task in result[split].values()]
