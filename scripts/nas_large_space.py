"""Searches in spaces that are too large to be trained: every architecture asked for is trained.

python scripts/nas_large_space.py --space cells5                     # goes on if stopped
python scripts/nas_large_space.py --space cells5 darts --report --write      # into the docs
python scripts/nas_large_space.py --smoke                         # a minute, to see that it works

*cells5* is NBDigits with 4 nodes and 5 operations (15,625 strings, 5,043 different functions),
networks trained as those of `tasks.NBDigits`; *darts* the two cells of DARTS with two nodes each,
four channels and three layers, networks trained for half as many epochs. All methods minimize the
validation error, the same under PGD-10 of radius 0.1, and the number of parameters, and are scored
by what they saw: the share of the hypervolume that the front of *everything trained here, by any
method*, has. So shares compare these methods with one another and not with the best there is.

Each training is a line of a file, a function of the architecture alone, and shared by the methods
that ask for it. What a supernet cost is processor time over the mean of the trainings.
"""

from __future__ import annotations

import os

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_name] = "1"

import argparse
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import count, takewhile
from pathlib import Path
from typing import Any

import moocore
import numpy as np
import torch
from _pages import fill
from nas_by_gradient import FIRST, Learnt, ProposedFirst, learnt, spread, untrained

from moml._support.files import write_json
from moml.nas import GateGradients, Genotype, SearchSpace
from moml.nas.outer import (
    NSGA2,
    OuterSearch,
    ParetoSearch,
    RandomSearch,
    StratifiedSearch,
)
from search_spaces import DARTS, NBDigits
from tasks.nb_digits._data import digit_images
from tasks.nb_digits._protocol import MEASURES, Protocol, measure

DOCS = Path(__file__).parent.parent / "docs" / "nas.md"
PGD = MEASURES.index("pgd_0.1")


@dataclass(frozen=True)
class Setting:
    """A space and how its networks are trained.

    Args:
        title: In the table.
        space: The space.
        protocol: How its networks are trained.
        costs: Where searches are compared, in trainings; the last is the budget.
        repetitions: Of every search.
    """

    title: str
    space: Callable[[], SearchSpace]
    protocol: Protocol
    costs: tuple[int, ...]
    repetitions: int


SETTINGS = {
    "cells5": Setting(
        "NBDigits, 5 operations",
        lambda: NBDigits(4, ("none", "skip", "conv1", "conv3", "avg3")),
        Protocol(),
        (5, 10, 20, 30),
        4,
    ),
    "darts": Setting(
        "DARTS, 2 nodes",
        lambda: DARTS(2, channels=4, layers=3, image=(1, 8, 8)),
        Protocol(epochs=5),
        (5, 10, 15, 20),
        3,
    ),
    "smoke": Setting("smoke", lambda: NBDigits(3), Protocol(epochs=1), (6,), 2),
}


class Trainings:
    """Errors of the architectures that were trained, in a file that grows line by line.

    Args:
        path: The file.
        setting: Space and protocol.
    """

    def __init__(self, path: Path, setting: Setting) -> None:
        self.path, self.setting, self.space = path, setting, setting.space()
        self.errors: dict[str, tuple[float, float]] = {}
        self.seconds: list[float] = []
        if path.exists():
            for line in path.read_text().splitlines():
                self._keep(json.loads(line))

    def of(self, genotype: Genotype) -> tuple[float, float]:
        """Validation errors without and under attack; trains if it has to."""
        key = self.space.key(genotype)
        if key not in self.errors:
            errors, seconds = self._train(genotype)
            line = {"key": key, "errors": errors, "seconds": round(seconds, 2)}
            with self.path.open("a") as file:
                file.write(json.dumps(line) + "\n")
            self._keep(line)
        return self.errors[key]

    def _keep(self, line: dict) -> None:
        self.errors[line["key"]] = (line["errors"][0], line["errors"][1])
        self.seconds.append(line["seconds"])

    def _train(self, genotype: Genotype) -> tuple[list[float], float]:
        start, images = time.process_time(), digit_images()
        network = self.space.network(self.space.canonical(genotype), seed=0)
        self.setting.protocol.train(network, *images.train, seed=0)
        right = measure(network, *images.val).float().mean(0)
        errors = [1 - float(right[0]), 1 - float(right[PGD])]
        return errors, time.process_time() - start


@dataclass(frozen=True)
class Method:
    """A search and what it learns from first.

    Args:
        search: Made from the space, a seed and what was learnt.
        kind: Of the search by gradient that comes first, one of `nas_by_gradient.KINDS`.
    """

    search: Callable[..., OuterSearch | ProposedFirst]
    kind: str | None = None


def gates_and_pareto(space: SearchSpace, *, seed: int, learnt: Learnt) -> OuterSearch:
    """Gate gradients of one supernet as a feature of the Bayesian search."""
    assert isinstance(learnt.problem, GateGradients)
    return ParetoSearch(space, seed=seed, prior=learnt.problem.scores)


def proposed_and_random(space: SearchSpace, *, seed: int, learnt: Learnt) -> ProposedFirst:
    """What a search by gradient proposes, spread over the sizes, then at random."""
    return ProposedFirst(spread(list(learnt.outer.pool or ())), RandomSearch(space, seed=seed))


def proposed_and_pareto(space: SearchSpace, *, seed: int, learnt: Learnt) -> OuterSearch:
    """The Bayesian search, started with what a search by gradient proposes."""
    first = spread(list(learnt.outer.pool or ()))[:FIRST]
    return ParetoSearch(space, seed=seed, first=first)


def untrained_and_pareto(space: SearchSpace, *, seed: int) -> OuterSearch:
    """The control: proposals as DARTS decodes them from a mixture that has learnt nothing."""
    return ParetoSearch(space, seed=seed, first=spread(untrained(space, seed, "darts")))


METHODS = {
    "random": Method(RandomSearch),
    "random, stratified by size": Method(StratifiedSearch),
    "NSGA-II (Optuna)": Method(NSGA2),
    "naive MGDA (E2RNAS)": Method(proposed_and_random, "mgda"),
    "ParetoSearch": Method(ParetoSearch),
    "ParetoSearch with gates": Method(gates_and_pareto, "gates"),
    "ParetoSearch from DARTS's proposals": Method(proposed_and_pareto, "darts"),
    "the same, DARTS untrained": Method(untrained_and_pareto),
    "ParetoSearch from E2RNAS's, equal weights": Method(proposed_and_pareto, "equal"),
}


class Experiment:
    """Trainings, supernets and runs of one space, in a folder.

    Args:
        name: One of `SETTINGS`.
        folder: Where everything is kept.
        steps: Steps of the searches by gradient instead of their own.
    """

    def __init__(self, name: str, folder: Path, *, steps: int | None = None) -> None:
        self.folder, self.steps, self.setting = folder / name, steps, SETTINGS[name]
        self.folder.mkdir(parents=True, exist_ok=True)
        self.trainings = Trainings(self.folder / "trainings.jsonl", self.setting)
        self.space = self.trainings.space

    def run(self, label: str, repetition: int) -> None:
        """Ask and tell; what was asked for is written down at the end."""
        budget = self.setting.costs[-1]
        path = self._run(label, repetition)
        if path.exists() and len(json.loads(path.read_text())["points"]) >= budget:
            return
        method, found = METHODS[label], None
        if method.kind is not None:
            found = self._learnt(method.kind, repetition)
        also = {} if found is None else {"learnt": found}
        search = method.search(self.space, seed=repetition, **also)
        points = []
        for _ in range(budget):
            genotype = search.ask()
            errors = self.trainings.of(genotype)
            search.tell(genotype, errors)
            points.append([*errors, float(self.space.num_parameters(genotype))])
        seconds = 0.0 if found is None else found.seconds
        write_json(path, {"points": points, "seconds": seconds})

    def report(self) -> list[str]:
        """A Markdown table of the repetitions that all methods have."""
        costs = self.setting.costs
        number = min(len(self._runs(label)) for label in METHODS)
        if number == 0:
            return [f"**{self.setting.title}**: not a single repetition of all methods yet.", ""]
        runs = {label: self._runs(label)[:number] for label in METHODS}
        every = np.concatenate([run["points"] for found in runs.values() for run in found])
        scale = np.array([1.0, 1.0, 1.05 * every[:, 2].max()])
        best, unit = volume(every, scale), float(np.mean(self.trainings.seconds))
        front = moocore.filter_dominated(every, keep_weakly=False)
        lines = [
            f"**{self.setting.title}**: {number} repetitions, {len(np.unique(every, axis=0))} "
            f"different trainings of {unit:.1f} s of processor time, {len(front)} of them on the "
            "front of all.",
            "",
            "| share of that front's hypervolume at | cost before | "
            + " | ".join(map(str, costs)) + f" | {costs[-1]}, were that free |",
            "|---|---|" + "---|" * (len(costs) + 1),
        ]  # fmt: skip
        for label, found in runs.items():
            before = [run["seconds"] / unit for run in found]
            charged = np.array(
                [
                    [volume(run["points"][: max(0, int(c - cost))], scale) for c in costs]
                    + [volume(run["points"][: costs[-1]], scale)]
                    for run, cost in zip(found, before, strict=True)
                ]
            )  # (repetitions, costs + 1)
            cells = [
                f"{share.mean():.3f} [{share.min():.3f}, {share.max():.3f}]"
                for share in (charged / best).T
            ]
            lines.append(f"| {label} | {np.mean(before):.1f} | " + " | ".join(cells) + " |")
        return [*lines, ""]

    def _learnt(self, kind: str, seed: int) -> Learnt:
        """The supernet of a method, from its file if it is there."""
        path = self.folder / f"supernet-{kind}-{seed}.pt"
        if path.exists():
            return learnt(kind, self.space, seed, steps=self.steps, known=torch.load(path))
        found = learnt(kind, self.space, seed, steps=self.steps)
        torch.save({"state": found.problem.module.state_dict(), "seconds": found.seconds}, path)
        return found

    def _run(self, label: str, repetition: int) -> Path:
        return self.folder / f"run-{list(METHODS).index(label)}-{repetition}.json"

    def _runs(self, label: str) -> list[dict[str, Any]]:
        """What was written down of the first repetitions, as far as there are no gaps."""
        paths = takewhile(Path.exists, (self._run(label, r) for r in count()))
        return [json.loads(path.read_text()) for path in paths]


def volume(points: Sequence[Sequence[float]] | np.ndarray, scale: np.ndarray) -> float:
    """Hypervolume in units of the reference point."""
    return (
        float(moocore.hypervolume(np.array(points) / scale, ref=[1.0] * 3)) if len(points) else 0.0
    )


def main() -> None:
    """Train, print, and write if asked to."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--space", choices=sorted(SETTINGS), nargs="+", default=["cells5"])
    parser.add_argument("--folder", type=Path, default=Path("runs/nas_large_space"))
    parser.add_argument("--report", action="store_true", help="train nothing")
    parser.add_argument("--write", action="store_true", help="put the tables into docs/nas.md")
    parser.add_argument("--smoke", action="store_true", help="a minute, in a small space")
    options = parser.parse_args()
    torch.set_num_threads(1)
    lines: list[str] = []
    for name in ["smoke"] if options.smoke else options.space:
        experiment = Experiment(name, options.folder, steps=2 if options.smoke else None)
        for repetition in range(0 if options.report else experiment.setting.repetitions):
            for label in METHODS:
                experiment.run(label, repetition)
                print(name, label, repetition, len(experiment.trainings.seconds), flush=True)
        lines += experiment.report()
    print("\n".join(lines))
    if options.write:
        fill(DOCS, "large", "\n".join(lines))


if __name__ == "__main__":
    main()
