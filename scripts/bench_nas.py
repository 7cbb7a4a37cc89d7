"""Which search finds the front with the fewest trainings, on tables of trained cells.

python scripts/bench_nas.py                          # prints; --write puts it into docs/nas.md
python scripts/bench_nas.py --method module:factory  # one more method beside the others

A method is anything with `ask()` and `tell(genotype, errors)`; a factory is called with the space,
`candidates` and `seed`. All minimize the error, the error under PGD-10 of radius 0.1, and the
number of parameters. The reference point is error 1, error 1, and 1.05 times the largest network.

Protocols. *clean*: the search sees validation errors averaged over so many seeds, and what it found
is scored by the same numbers. *noisy*: it sees validation errors of one of them, and what it took
for the front is scored by the test errors of all other seeds that the table has of a cell (of the
same one if it has no other), as a share of the largest hypervolume there.
"""

from __future__ import annotations

import os

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_name] = "1"

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import moocore
import numpy as np
from _pages import fill

from moml.nas import Genotype, SearchSpace
from moml.nas.outer import (
    NSGA2,
    ParetoSearch,
    RandomSearch,
    RegularizedEvolution,
    StratifiedSearch,
)
from search_spaces import NBDigits
from tasks import NBDigits as Tables

DOCS = Path(__file__).parent.parent / "docs" / "nas.md"
COSTS = (5, 10, 20, 30)
RADIUS = 0.1
RESAMPLES = 5000
Factory = Callable[..., Any]
METHODS: dict[str, Factory] = {
    "random": RandomSearch,
    "random, stratified by size": StratifiedSearch,
    "regularized evolution": RegularizedEvolution,
    "NSGA-II (Optuna)": NSGA2,
    "ParetoSearch": ParetoSearch,
}
SPACES = {
    "digits": NBDigits,
    "glyphs": NBDigits,
    "digits3": lambda: NBDigits(3, ("none", "skip", "conv1", "conv3", "avg3")),
}


@dataclass(frozen=True)
class Numbers:
    """What a search sees of a table, and what it is scored by, ``(cells, 3)`` each."""

    space: SearchSpace
    genotypes: list[Genotype]
    seen: np.ndarray
    scored: np.ndarray

    @property
    def reference(self) -> np.ndarray:
        """Reference point of the hypervolume, in units in which it is (1, 1, 1)."""
        return np.array([1.0, 1.0, 1.05 * self.seen[:, 2].max()])

    def hypervolume(self, rows: Sequence[int]) -> float:
        """Of these cells by what they are scored by."""
        points = self.scored[list(rows)] / self.reference
        return float(moocore.hypervolume(points, ref=[1.0] * 3))

    def distance(self, rows: Sequence[int]) -> float:
        """IGD+ of these cells to the front of all."""
        points = self.scored / self.reference
        return float(moocore.igd_plus(points[list(rows)], ref=moocore.filter_dominated(points)))


def numbers(table: Tables, space: SearchSpace, protocol: str, seeds: int, seed: int) -> Numbers:
    """The numbers of a table in one protocol; ``seed`` is the one that a noisy search sees."""
    genotypes = list(table.genotypes(seeds=seeds))

    def others(genotype: Genotype) -> list[int]:
        return [s for s in table.query(genotype).seeds if s != seed] or [seed]

    def errors(genotype: Genotype, split: str, of: Sequence[int]) -> list[float]:
        records = [table.query(genotype, seed=s) for s in of]
        parts = [getattr(record, split) for record in records]
        clean, pgd = np.mean([[a.clean, a.at(RADIUS)] for a in parts], 0)
        return [1 - clean, 1 - pgd, float(records[0].parameters)]

    if protocol == "clean":
        seen = scored = np.array([errors(g, "val", range(seeds)) for g in genotypes])
    else:
        seen = np.array([errors(g, "val", [seed]) for g in genotypes])
        scored = np.array([errors(g, "test", others(g)) for g in genotypes])
    return Numbers(space, genotypes, seen, scored)


def asked(factory: Factory, data: Numbers, seed: int) -> tuple[list[int], float]:
    """Rows of the table in the order a method asks for them, and what the method itself cost."""
    keys = {data.space.key(g): row for row, g in enumerate(data.genotypes)}
    search, rows = factory(data.space, candidates=data.genotypes, seed=seed), []
    for _ in range(min(max(COSTS), len(keys))):
        genotype = search.ask()
        row = keys[data.space.key(genotype)]
        search.tell(genotype, data.seen[row, :2].tolist())
        rows.append(row)
    return rows, float(getattr(search, "cost", 0.0))


def scores(
    data: Numbers, rows: list[int], cost: float, *, budgets: Sequence[int] = COSTS
) -> np.ndarray:
    """Share of the largest hypervolume, and IGD+, at every budget, ``(2, budgets)``."""
    best, found = data.hypervolume(range(len(data.genotypes))), []
    for budget in budgets:
        known = np.array(rows[: max(0, int(budget - cost))], int)
        if len(known) == 0:
            found.append((0.0, np.inf))
            continue
        kept = known[moocore.is_nondominated(data.seen[known], keep_weakly=True)]
        found.append((data.hypervolume(kept) / best, data.distance(kept)))
    return np.array(found).T


def interval(values: np.ndarray) -> str:
    """Mean and 95 % bootstrap interval of repetitions."""
    random = np.random.default_rng(0)
    means = values[random.integers(len(values), size=(RESAMPLES, len(values)))].mean(1)
    low, high = np.quantile(means, [0.025, 0.975])
    return f"{values.mean():.3f} [{low:.3f}, {high:.3f}]"


def measured(
    name: str, protocol: str, methods: dict[str, Factory], repetitions: int, seeds: int
) -> list[str]:
    """One Markdown table."""
    table, space = Tables(name), SPACES[name]()
    trained = list(table.genotypes(seeds=seeds))
    views = {s: numbers(table, space, protocol, seeds, s) for s in range(seeds)}
    front = moocore.is_nondominated(views[0].scored).sum()
    lines = [
        f"**{name}**, {protocol}: {len(trained)} cells, {seeds} seed{'s' * (seeds > 1)}, "
        f"{front} of them on the front.",
        "",
        "| share of the hypervolume at | " + " | ".join(map(str, COSTS)) + " | IGD+ at 20 |",
        "|---|" + "---|" * (len(COSTS) + 1),
    ]
    for label, factory in methods.items():
        runs = [asked(factory, views[r % seeds], r) for r in range(repetitions)]
        found = np.array(
            [scores(views[r % seeds], rows, cost) for r, (rows, cost) in enumerate(runs)]
        )  # (repetitions, 2, costs)
        if before := np.mean([cost for _, cost in runs]):
            label = f"{label}, {before:.1f} trainings before the first"
        shares = [interval(found[:, 0, c]) for c in range(len(COSTS))]
        distance = found[:, 1, COSTS.index(20)].mean()
        lines.append(f"| {label} | " + " | ".join(shares) + f" | {distance:.4f} |")
        print(lines[-1], flush=True)
    if protocol == "noisy":
        every = [
            scores(view, list(range(len(trained))), 0.0, budgets=[len(trained)])[0, 0]
            for view in views.values()
        ]
        lines.append(f"| all cells trained once | | | | {np.mean(every):.3f} | |")
    return [*lines, ""]


def main() -> None:
    """Measure, print, and write if asked to."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    tables = ["digits3:3", "digits:1", "glyphs:2"]
    parser.add_argument("--tables", nargs="+", default=tables, help="name:seeds")
    parser.add_argument("--protocols", nargs="+", default=["clean", "noisy"])
    parser.add_argument("--repetitions", type=int, default=20)
    parser.add_argument("--method", action="append", default=[], help="module:factory")
    parser.add_argument("--write", action="store_true", help="put the tables into docs/nas.md")
    options = parser.parse_args()
    methods = dict(METHODS)
    for path in options.method:
        module, factory = path.split(":")
        methods[factory] = getattr(import_module(module), factory)
    lines: list[str] = []
    for entry in options.tables:
        name, seeds = entry.split(":")
        for protocol in options.protocols:
            lines += measured(name, protocol, methods, options.repetitions, int(seeds))
    print("\n".join(lines))
    if options.write:
        fill(DOCS, "bench_nas", "\n".join(lines))


if __name__ == "__main__":
    main()
