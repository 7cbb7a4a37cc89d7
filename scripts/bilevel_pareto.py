"""Where hypergradients end on bi-level problems whose Pareto set is known: a table and a picture.

    python scripts/bilevel_pareto.py [--seeds 3] [--write docs/bilevel.md]

MGDA, 400 upper steps of gradient descent at the inverse of the upper Hessian's largest eigenvalue,
from a random start. Distances are to the Pareto set, over its diameter.
"""

from __future__ import annotations

import os

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_name] = "1"

import argparse
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median

import numpy as np
import torch
from _pages import fill
from matplotlib.figure import Figure

import moml
from moml.bilevel import (
    SOBA, Bilevel, BlockConjugateGradient, Checkpointed, InnerSGD, Neumann, Unrolled,
)  # fmt: skip
from moml.training.callback import Callback, Training
from moml.weighting import MGDA, Constant
from tasks import QuadraticBilevel

STEPS, RATE = 400, 0.5
METHODS: dict[str, Callable[[], Bilevel]] = {
    "one unrolled step (MOML as released)": lambda: Bilevel(
        InnerSGD(RATE, steps=1), Unrolled(), warm_start=True
    ),
    "5 unrolled steps": lambda: Bilevel(InnerSGD(RATE, steps=5), Unrolled(), warm_start=True),
    "20 unrolled steps": lambda: Bilevel(InnerSGD(RATE, steps=20), Checkpointed(), warm_start=True),
    "one step, implicit (block CG)": lambda: Bilevel(
        InnerSGD(RATE, steps=1), BlockConjugateGradient(on_invalid="ignore"), warm_start=True
    ),
    "one step, implicit (Neumann, 20 terms)": lambda: Bilevel(
        InnerSGD(RATE, steps=1), Neumann(20, on_invalid="ignore"), warm_start=True
    ),
    "one step, single loop (SOBA, 3 adjoint steps)": lambda: Bilevel(
        InnerSGD(RATE, steps=1), SOBA(0.9, steps=3), warm_start=True
    ),
    "one step, implicit, upper bound": lambda: Bilevel(
        InnerSGD(RATE, steps=1),
        BlockConjugateGradient(on_invalid="ignore"),
        warm_start=True,
        upper_bound=True,
    ),
}


CHOSEN = "one unrolled step (MOML as released)", "one step, implicit (block CG)"
LATTICE = [(i / 3, j / 3, (3 - i - j) / 3) for i in range(4) for j in range(4 - i)]


class Trail(Callback):
    """Records the upper variables after every step."""

    def __init__(self, problem: QuadraticBilevel) -> None:
        self.problem, self.points = problem, [problem.x.numpy().copy()]

    def after_step(self, training: Training) -> None:
        """Keep a copy."""
        self.points.append(self.problem.x.numpy().copy())


def run(problem: QuadraticBilevel, oracle: Bilevel, weighting: moml.Weighting) -> np.ndarray:
    """Upper variables before the first and after every step, ``(steps + 1, n)``."""
    rate = 1 / float(torch.linalg.eigvalsh(problem.curvature())[-1])
    optimizer = torch.optim.SGD(problem.upper_parameters().values(), rate)
    path = Trail(problem)
    moml.fit(problem, oracle, weighting, optimizer, [None], steps=STEPS, callbacks=[path])
    return np.array(path.points)


def table(seeds: int) -> str:
    """Distance to the Pareto set after the last step, and time."""
    rows = ["| lower level and hypergradient | median | largest | CPU s |", "|---|---:|---:|---:|"]
    for name, make in METHODS.items():
        start, ends = time.process_time(), []
        for seed in range(seeds):
            problem = QuadraticBilevel(seed=seed)
            run(problem, make(), MGDA())
            ends.append(problem.distance(problem.x))
        spent = (time.process_time() - start) / seeds
        rows.append(f"| {name} | {median(ends):.1e} | {max(ends):.1e} | {spent:.1f} |")
    return "\n".join(rows)


def coverage(seeds: int) -> str:
    """IGD of ten preferences, over the diameter of the Pareto set."""
    gaps, own = [], []
    for seed in range(seeds):
        problem = QuadraticBilevel(seed=seed)
        corners, diameter = problem.minimisers().numpy(), problem.diameter()
        exact = np.array(LATTICE) @ corners
        ends = np.array([preferred(seed, weights)[-1] for weights in LATTICE])
        gaps.append(np.linalg.norm(ends - exact, axis=1).mean() / diameter)
        dense = np.random.default_rng(0).dirichlet(np.ones(3), 2000) @ corners
        near = [np.linalg.norm(dense[:, None] - p, axis=2).min(1).mean() for p in (ends, exact)]
        own.append(near[0] / near[1])
    return (
        f"Ten preferences (the lattice with three divisions, `Constant`): mean distance to the "
        f"analytic points {max(gaps):.1e} of the diameter at most over {seeds} seeds; IGD over a "
        f"dense sample of the set {max(own):.4f} times that of the ten analytic points."
    )


def preferred(seed: int, weights: Sequence[float]) -> np.ndarray:
    """The path of a fixed preference, by implicit differentiation."""
    problem = QuadraticBilevel(seed=seed)
    return run(problem, METHODS[CHOSEN[1]](), Constant(preference=list(weights)))


def picture(place: Path, *, seed: int = 0) -> None:
    """Paths of two methods and the ends of ten preferences, in the plane of the Pareto set."""
    corners = QuadraticBilevel(seed=seed).minimisers().numpy()
    middle = corners.mean(0)
    plane = np.linalg.svd(corners - middle)[2][:2].T
    figure = Figure(figsize=(6.4, 6.0), layout="constrained")
    axes = figure.subplots()
    axes.fill(*((corners - middle) @ plane).T, color="0.9", label="Pareto set")
    for name, color in zip(CHOSEN, ("tab:red", "tab:blue"), strict=True):
        for i, offset in enumerate((-1.0, 0.0, 1.0)):
            problem = QuadraticBilevel(seed=seed)
            with torch.no_grad():
                problem.upper_parameters()["x"].add_(offset)
            path = (run(problem, METHODS[name](), MGDA()) - middle) @ plane
            axes.plot(*path.T, color=color, lw=0.8, label=name if i == 0 else None)
            axes.plot(*path[-1], "o", color=color, ms=5)
    ends = np.array([preferred(seed, weights)[-1] for weights in LATTICE])
    axes.plot(*((ends - middle) @ plane).T, "k+", ms=8, label="ten preferences, implicit")
    axes.set(xlabel="the Pareto set's plane, first direction", ylabel="second", aspect="equal")
    figure.legend(fontsize=8, loc="outside lower center", ncols=2)
    figure.savefig(place, dpi=110)


def main() -> None:
    """Print the table, or write it and the picture into a document."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--write", type=Path, help="Markdown file with the markers.")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    text = f"{table(arguments.seeds)}\n\n{coverage(arguments.seeds)}"
    print(text)
    if arguments.write is not None:
        fill(arguments.write, "pareto", text)
        picture(arguments.write.with_name("bilevel_pareto.png"))


if __name__ == "__main__":
    main()
