"""Few-shot runs: what is trained, in which sizes, and a rate for every line.

Every line takes equally many meta-steps of Adam; its rate is chosen on validation episodes of a
seed that is not reported. Every run is a file of its own.
"""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch

from moml.backbone import MLP
from moml.errors import NonFiniteError
from moml.few_shot.method import (
    ANIL,
    BOIL,
    FOMAML,
    IMAML,
    MAML,
    MAMLPlusPlus,
    MetaMethod,
    MetaSGD,
    ProtoNet,
    Reptile,
)
from moml.jobs.few_shot import FewShotJob
from moml.weighting import (
    EW,
    MGDA,
    CAGrad,
    Constant,
    GradientNormalization,
    Weighting,
    WeightSum,
)
from moml_experiments._shards import run_shards
from tasks import Glyphs, Sinusoid

VALIDATION_SEED = 100
METHODS: dict[str, dict[str, Callable[[], MetaMethod]]] = {  # variants; validation chooses one
    "MAML": {"": MAML}, "FOMAML": {"": FOMAML}, "ANIL": {"": ANIL}, "BOIL": {"": BOIL},
    "Reptile": {"": Reptile}, "MetaSGD": {"": MetaSGD}, "MAMLPlusPlus": {"": MAMLPlusPlus},
    "IMAML": {  # its own choice: the right λ depends on the suite
        f"λ = {x:g}": partial(IMAML, proximal=x, on_invalid="ignore") for x in (0.1, 0.5, 2.0)
    },
    "ProtoNet": {"": ProtoNet},
}  # fmt: skip
FULL: dict[str, Any] = {
    "seeds": [0, 1, 2], "shares": [0.9, 0.7, 0.5, 0.3, 0.1],
    "front_rates": [1e-4, 3e-4, 1e-3, 3e-3, 1e-2], "method_rates": [1e-3, 3e-3, 1e-2],
    "front": {"steps": 300, "eval_every": 100, "val_episodes": 60, "test_episodes": 300},
    "suites": {
        "Sinusoid": {"steps": 500, "eval_every": 125, "val_episodes": 100, "test_episodes": 600},
        "Glyphs": {"steps": 300, "eval_every": 100, "val_episodes": 60, "test_episodes": 300},
    },
    "methods": list(METHODS),
}  # fmt: skip
_TINY = {"steps": 4, "eval_every": 4, "val_episodes": 4, "test_episodes": 4}
SMOKE: dict[str, Any] = {
    "seeds": [0], "shares": [0.5], "front_rates": [3e-3], "method_rates": [3e-3], "front": _TINY,
    "suites": {"Sinusoid": _TINY, "Glyphs": _TINY}, "methods": ["MAML", "Reptile", "ProtoNet"],
}  # fmt: skip
INNER = {  # the lower level of each suite, for all methods but iMAML, which takes its 16 steps
    "Sinusoid": {"inner_learning_rate": 0.01, "inner_steps": 5, "eval_inner_steps": 10},
    "Glyphs": {"inner_learning_rate": 0.3, "inner_steps": 5, "eval_inner_steps": 5},
}


def weighting_of(name: str) -> Weighting:
    """A line of the front; all weights sum to 1, so that one rate means the same."""
    if name.startswith("EW"):
        share = float(name.split()[1])
        return Constant(preference=[share, 1 - share])
    kinds: dict[str, Callable[[], Weighting]] = {
        "MGDA": MGDA,
        "MGDA l2": lambda: GradientNormalization(MGDA(), by="l2"),
        "CAGrad": CAGrad,
    }
    return WeightSum(kinds[name]())


def train(
    *,
    suite: str,
    method: str,
    variant: str = "",
    weighting: str,
    rate: float,
    seed: int,
    size: dict[str, int],
) -> dict[str, Any]:
    """One run: validation score, test metrics and their intervals, CPU seconds."""
    torch.manual_seed(seed)
    glyphs = suite == "Glyphs"
    front = weighting != "-"
    trainer = FewShotJob(
        Glyphs() if glyphs else Sinusoid(),
        METHODS[method][variant](),
        weighting_of(weighting) if front else EW(),
        objectives=["clean", "robust"] if front else ["clean"],
        encoder=MLP(784, hidden=(64, 64)) if glyphs else None,
        learning_rate=rate,
        seed=seed,
        **INNER[suite],
        **size,
    )
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            results = trainer.run(Path(folder) / "run", quiet=True)
        except NonFiniteError as error:  # at a rate that tuning then leaves out
            return {"val_score": float("-inf"), "failed": str(error)}
    return {key: results[key] for key in ("val_score", "test", "test_intervals", "cpu_seconds")}


def file_of(job: dict[str, Any]) -> str:
    """Name of a run's file."""
    method = job["method"] + job.get("variant", "")
    parts = (job["suite"], method, job["weighting"], f"{job['rate']:g}", str(job["seed"]))
    return "".join(c for c in "_".join(parts) if c.isascii() and c not in " =")


def best_rates(
    lines: Sequence[dict[str, Any]], rates: Sequence[float], folder: Path, jobs: int
) -> list[tuple[float, float]]:
    """Every line's best validation score, and the rate it has there."""
    if len(rates) == 1:
        return [(0.0, rates[0])] * len(lines)
    tries = [
        {**line, "rate": rate, "seed": VALIDATION_SEED}
        for line in lines for rate in rates
    ]  # fmt: skip
    found = run_shards(train, {file_of(t): t for t in tries}, folder, processes=jobs)
    best = []
    for line in lines:
        scores = {
            rate: found[file_of({**line, "rate": rate, "seed": VALIDATION_SEED})]["val_score"]
            for rate in rates
        }
        rate = max(scores, key=scores.__getitem__)
        best.append((scores[rate], rate))
    return best


def on_seeds(
    lines: Sequence[dict[str, Any]],
    chosen: Sequence[float],
    seeds: Sequence[int],
    folder: Path,
    jobs: int,
) -> list[list[dict[str, Any]]]:
    """Every line's runs at its rate."""
    rows = [
        [{**line, "rate": rate, "seed": seed} for seed in seeds]
        for line, rate in zip(lines, chosen, strict=True)
    ]
    every = {file_of(row): row for several in rows for row in several}
    found = run_shards(train, every, folder, processes=jobs)
    return [[{**found[file_of(row)], "rate": row["rate"]} for row in several] for several in rows]
