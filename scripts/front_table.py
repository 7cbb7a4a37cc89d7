"""Hypervolume and IGD+ of ten preferences per method on problems with known fronts.

python scripts/front_table.py [--problems VLMOP1 VLMOP2] [--steps 600]
"""

from __future__ import annotations

import os

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_name] = "1"

import argparse
from collections.abc import Sequence

import numpy as np
from torch import Tensor

import moml.front
from moml.front import hypervolume, igd_plus, refine, solver, spread
from moml.weighting import COSMOS, EPO, PBI, PMGDA, PMTL, STCH, Constant, Tchebycheff

NUMBER = 10
FACTORS = (1.1, 2.0, 3.0)  # of the nadir, for the reference point
METHODS = {
    "STCH, μ = 0.01": lambda p: STCH(preference=p, mu=0.01),
    "Tchebycheff": lambda p: Tchebycheff(preference=p),
    "EPO": lambda p: EPO(preference=p),
    "PBI": lambda p: PBI(preference=p),
    "PMGDA": lambda p: PMGDA(preference=p),
    "PMTL": lambda p: PMTL(preference=p, others=spread(2, NUMBER).tolist()),
    "COSMOS, pull 4": lambda p: COSMOS(preference=p, pull=4.0),
    "Constant": lambda p: Constant(preference=p),
}


def most(front: Tensor, reference: Sequence[float]) -> float:
    """The largest hypervolume of `NUMBER` points of a front, by dynamic programming."""
    points = front.numpy()[front[:, 0].argsort().numpy()]
    widths = reference[0] - points[:, 0]
    best = widths * (reference[1] - points[:, 1])
    for _ in range(NUMBER - 1):
        drops = points[:, 1][:, None] - points[:, 1][None]
        gains = best[:, None] + widths[None] * drops
        best = np.where(np.tri(len(points), dtype=bool), -np.inf, gains).max(0)
    return float(best.max())


def main() -> None:
    """Measure and print one Markdown table per problem."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--problems", nargs="+", default=["VLMOP1", "VLMOP2"])
    parser.add_argument("--steps", type=int, default=600)
    options = parser.parse_args()
    for name in options.problems:
        make = getattr(moml.front, name)
        front, nadir = make().front(20_001), make().nadir
        references = [[factor * worst for worst in nadir] for factor in FACTORS]
        volumes = [hypervolume(front, reference) for reference in references]
        print(f"\n| {name} | " + " | ".join(map(str, FACTORS)) + " | IGD+ |\n|---|---|---|---|---|")
        for label, method in METHODS.items():
            ray = method([0.5, 0.5]).preference_is == "ray"
            _, points = refine(solver(make, method, steps=options.steps), NUMBER, ray=ray)
            shares = [hypervolume(points, r) / v for r, v in zip(references, volumes, strict=True)]
            cells = " | ".join(f"{share:.3f}" for share in shares)
            print(f"| {label} | {cells} | {igd_plus(points, front[::20]):.3f} |", flush=True)
        shares = [most(make().front(400), r) / v for r, v in zip(references, volumes, strict=True)]
        print("| any ten points, at most | " + " | ".join(f"{s:.3f}" for s in shares) + " | |")


if __name__ == "__main__":
    main()
