"""Accuracy and time of the solvers behind MGDA, Nash-MTL, CAGrad and UPGrad, as Markdown tables.

    python scripts/bench_solvers.py [--peers] [--seeds 5]

One thread. Errors are the worst over the seeds, times the median. Errors of the minimum-norm point
are measured in extended precision; "1 - descent" is 1 - min g_i·d / |d|^2, which no solver can
bring below 1e-16 times the largest norm over |d|, the rounding of the weights themselves.
``--peers`` adds TorchJD's solvers where their extra packages are installed.
"""

from __future__ import annotations

import os

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[variable] = "1"  # before numpy is imported: two threads make small solves slower

import argparse
import sys
import time
from collections.abc import Callable
from itertools import product
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from moml.logging._diagnostics import diagnostics
from moml.weighting import MGDA, CAGrad, GramianWeighting, NashMTL, PCGrad, UPGrad
from moml.weighting._cagrad import cagrad_weights
from moml.weighting._cone import projected_weights
from moml.weighting._fair import fair_weights
from moml.weighting._gramian import Array
from moml.weighting._min_norm import min_norm_weights

SIZES = (2, 3, 8, 32, 128)
C = 0.4


# ------------------------------------------------------------------------------- gradient families


def random(m: int, rng: np.random.Generator) -> Array:
    """Standard normal gradients."""
    return rng.standard_normal((m, 2 * m + 10))


def spread(m: int, rng: np.random.Generator) -> Array:
    """Norms 1e-2 to 1e2."""
    return random(m, rng) * 10.0 ** rng.uniform(-2, 2, (m, 1))


def spread_8(m: int, rng: np.random.Generator) -> Array:
    """Norms over eight decades."""
    return random(m, rng) * 10.0 ** rng.permutation(np.linspace(-4, 4, m))[:, None]


def near_stationary(m: int, rng: np.random.Generator) -> Array:
    """A convex combination of the gradients is 1000 times smaller than they are."""
    rows = random(m, rng)
    return rows - rng.dirichlet(np.ones(m)) @ rows + 1e-3 * rng.standard_normal(rows.shape[1])


def parallel(m: int, rng: np.random.Generator) -> Array:
    """Nearly the same direction."""
    return rng.standard_normal(2 * m + 10) + 1e-3 * random(m, rng)


def correlated_spread(m: int, rng: np.random.Generator) -> Array:
    """A common component, and norms 1e-2 to 1e2."""
    return (rng.standard_normal(2 * m + 10) + 0.3 * random(m, rng)) * 10.0 ** rng.uniform(
        -2, 2, (m, 1)
    )


def hull(m: int, rng: np.random.Generator) -> Array:
    """Low rank with zero in the hull: Pareto stationary."""
    rank = max(1, m // 3)
    rows = rng.standard_normal((m, rank)) @ rng.standard_normal((rank, 2 * m + 10))
    return rows - rng.dirichlet(np.ones(m)) @ rows


def duplicates(m: int, rng: np.random.Generator) -> Array:
    """Every gradient twice, the second time with another norm."""
    rows = random((m + 1) // 2, rng)
    return np.concatenate([rows, 3.0 * rows])[:m]


def zero_row(m: int, rng: np.random.Generator) -> Array:
    """One task without gradient: Pareto stationary."""
    rows = random(m, rng)
    rows[0] = 0.0
    return rows


FAMILIES = (
    random,
    spread,
    spread_8,
    near_stationary,
    parallel,
    correlated_spread,
    hull,
    duplicates,
    zero_row,
)


# ------------------------------------------------------------------------------------------ errors


def extended_solve(matrix: np.ndarray, side: np.ndarray) -> np.ndarray:
    """Gauss-Jordan elimination in extended precision, rows and columns scaled to unit diagonal."""
    scale = np.sqrt(np.diagonal(matrix))
    work = np.column_stack([matrix / scale / scale[:, None], side / scale])
    for pivot in range(len(matrix)):
        work[pivot] /= work[pivot, pivot]
        others = np.arange(len(matrix)) != pivot
        work[others] -= np.outer(work[others, pivot], work[pivot])
    return work[:, -1] / scale


def min_norm_errors(gramian: Array, weights: Array) -> tuple[float, float]:
    """Relative gap of the squared norm, and 1 - min g_i·d / |d|^2, both in extended precision.

    The exact optimum comes from solving on the support again and is used if it passes its own
    optimality conditions; otherwise the gap is the bound that convexity gives.
    """
    gramian, weights = gramian.astype(np.longdouble), weights.astype(np.longdouble)
    products = gramian @ weights
    square = weights @ products
    margin = 1 - products.min() / square
    bound = 2 * margin
    support = weights.nonzero()[0]
    with np.errstate(all="ignore"):
        exact = np.zeros_like(weights)
        ones = np.ones(len(support), dtype=np.longdouble)
        exact[support] = extended_solve(gramian[np.ix_(support, support)], ones)
        exact /= exact.sum()
        best = exact @ gramian @ exact
        if (exact >= 0).all() and (gramian @ exact).min() >= (1 - 1e-11) * best:
            bound = square / best - 1
    return float(max(bound, 0.0)), float(max(margin, 0.0))


def nash_error(gramian: Array, weights: Array) -> float:
    """Largest deviation of a_i (G a)_i from 1, among tasks with a gradient."""
    live = np.diagonal(gramian) > 0
    return float(np.abs(weights * (gramian @ weights) - 1)[live].max())


def fair_error(gramian: Array, weights: Array, power: float) -> float:
    """Largest deviation of a_i^p (G a)_i from 1, among tasks with a gradient."""
    live = np.diagonal(gramian) > 0
    return float(np.abs(weights[live] ** power * (gramian @ weights)[live] - 1).max())


def cagrad_error(gramian: Array, weights: Array, c: float = C) -> float:
    """Duality gap in units of |g0|^2 plus any excess over the ball's radius."""
    m = len(gramian)
    average = np.full(m, 1 / m)
    products, correction = gramian @ average, weights - average
    square = average @ products
    length = np.sqrt(max(correction @ gramian @ correction, 0.0))
    radius = c * np.sqrt(square)
    candidates = [min_norm_weights(gramian)]  # any point of the simplex bounds the optimum
    if correction.sum() > 0:
        candidates.append(correction / correction.sum())
    dual = min(w @ products + radius * np.sqrt(max(w @ gramian @ w, 0.0)) for w in candidates)
    return float((dual - (gramian @ weights).min()) / square + max(length / radius - 1, 0.0))


def upgrad_errors(gramian: Array, rows: Array) -> tuple[float, float]:
    """Violation of the projections' optimality conditions on cosines, and min cos(g_i, update)."""
    live = np.diagonal(gramian) > 0
    gramian, rows = gramian[np.ix_(live, live)], rows[np.ix_(live, live)]
    norms = np.sqrt(np.diagonal(gramian))
    cosines = gramian / norms / norms[:, None]
    relative = rows / norms[:, None] * norms  # in units of each gradient
    surplus, slack = relative - np.eye(len(norms)), relative @ cosines
    update = rows.mean(0) * norms
    length = np.sqrt(max(update @ cosines @ update, 0.0))
    stationary = length <= 1e-7 * update.sum()
    cosine = np.nan if stationary else (cosines @ update).min() / length
    return float(np.abs(np.minimum(surplus, slack)).max()), float(cosine)


# ------------------------------------------------------------------------------------------ tables


def timed(solve: Callable[[], Array], repeats: int) -> tuple[Array, float]:
    """The result and the shortest of some times in milliseconds."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        result = solve()
        times.append(time.perf_counter() - start)
    return result, 1e3 * min(times)


def row(family: Callable[..., Array], m: int, seeds: int) -> str:
    """One line of the table of solvers."""
    errors: dict[str, list[float]] = {}
    repeats = 1 if m > 32 else 3
    for seed in range(seeds):
        jacobian = family(m, np.random.default_rng(seed))
        gramian = jacobian @ jacobian.T
        weights, ms = timed(lambda g=gramian: min_norm_weights(g), repeats)
        length = np.sqrt(max(weights @ gramian @ weights, 0.0) / np.diagonal(gramian).max())
        gap, margin = min_norm_errors(gramian, weights) if length > 1e-9 else (np.nan, np.nan)
        if family in (hull, zero_row):
            gap = margin = np.nan  # the direction is rounding noise; its length is what counts
        nash, nash_ms = timed(lambda g=gramian: fair_weights(g, power=1.0), repeats)
        cagrad, cagrad_ms = timed(lambda g=gramian: cagrad_weights(g, c=C), repeats)
        rows, cone_ms = timed(lambda g=gramian: projected_weights(g), repeats)
        kkt, cosine = upgrad_errors(gramian, rows)
        solvable = family is not hull  # with zero in the hull there is no bargaining solution
        values = {
            "length": length, "gap": gap, "margin": margin, "ms": ms,
            "nash": nash_error(gramian, nash) if solvable else np.nan, "nash_ms": nash_ms,
            "cagrad": cagrad_error(gramian, cagrad), "cagrad_ms": cagrad_ms,
            "kkt": kkt, "cosine": -cosine, "cone_ms": cone_ms,
        }  # fmt: skip
        for name, value in values.items():
            errors.setdefault(name, []).append(value)
    cells = []
    for name, values in errors.items():
        value = np.median(values) if name.endswith("ms") else max(values)
        value = -value if name == "cosine" else value
        text = f"{value:.3f}" if name.endswith("ms") else f"{value:.0e}"
        cells.append("–" if np.isnan(value) else text)
    return f"| {family.__name__} | {m} | " + " | ".join(cells) + " |"


def print_solvers(seeds: int) -> None:
    """Print the main table."""
    print(
        "| gradients | K | min-norm length | gap | 1 - descent | ms | Nash residual | ms "
        f"| CAGrad({C}) gap | ms | UPGrad KKT | min cos | ms |"
    )
    print("|---|--:" + "|--:" * 11 + "|")
    for family in FAMILIES:
        for m in SIZES:
            print(row(family, m, seeds), flush=True)


def print_scale_law(seeds: int) -> None:
    """Print how far normalised weights of s·J are from those of J."""
    methods: dict[str, Callable[[], GramianWeighting]] = {
        "MGDA": MGDA, "NashMTL": NashMTL, "CAGrad": CAGrad, "UPGrad": UPGrad, "PCGrad": PCGrad
    }  # fmt: skip
    scales = (1e-12, 1e-6, 1e-3, 1e3, 1e6, 1e12)
    print("\n| weights of s·J against J, s = | " + " | ".join(f"{s:.0e}" for s in scales) + " |")
    print("|---" + "|--:" * len(scales) + "|")
    for name, method in methods.items():
        worst = dict.fromkeys(scales, 0.0)
        for family in (random, spread, spread_8, near_stationary, correlated_spread):
            for m in (2, 3, 8, 32):
                for seed in range(seeds):
                    rows = torch.from_numpy(family(m, np.random.default_rng(seed)))
                    base = method().weights(rows @ rows.mT)
                    for s in scales:
                        other = method().weights((s * rows) @ (s * rows).mT)
                        error = (other / other.sum() - base / base.sum()).abs().max()
                        worst[s] = max(worst[s], float(error))
        print(f"| {name} | " + " | ".join(f"{worst[s]:.0e}" for s in scales) + " |", flush=True)


def print_fair(seeds: int) -> None:
    """Print FairGrad's residuals and times, and what a record of diagnostics costs."""
    sizes = (2, 8, 32, 64)
    heads = "".join(f" | K = {m} | ms" for m in sizes)
    print(f"\n| alpha | gradients{heads} |\n|--:|---{'|--:' * 2 * len(sizes)}|")
    for alpha, family in product((1, 2), FAMILIES):
        cells = []
        for m in sizes:
            errors, times = [], []
            for seed in range(seeds):
                jacobian = family(m, np.random.default_rng(seed))
                gramian = jacobian @ jacobian.T
                weights, ms = timed(lambda g=gramian, p=1 / alpha: fair_weights(g, power=p), 3)
                errors.append(fair_error(gramian, weights, 1 / alpha))
                times.append(ms)
            cells.append("–" if family is hull else f"{max(errors):.0e}")
            cells.append(f"{np.median(times):.3f}")
        print(f"| {alpha} | {family.__name__} | {' | '.join(cells)} |", flush=True)
    print(f"\n| diagnostics of a step{heads} |\n|---{'|--:' * 2 * len(sizes)}|")
    cells = []
    for m in sizes:
        jacobian = random(m, np.random.default_rng(0))
        gramian, weights = torch.from_numpy(jacobian @ jacobian.T), torch.ones(m)
        _, ms = timed(lambda g=gramian, w=weights: diagnostics(g, w), 20)
        cells += ["", f"{ms:.3f}"]
    print(f"| random | {' | '.join(cells)} |")


def print_peers(seeds: int) -> None:
    """Print the same errors for TorchJD's solvers."""
    import torchjd.aggregation as peer

    print("\n| TorchJD | gradients | K | error | ms |\n|---|---|--:|--:|--:|")
    for name, options, measure in (
        ("MGDAWeighting", {}, lambda g, w: min_norm_errors(g, w)[1]),
        ("UPGradWeighting", {}, lambda g, w: -_cosine(g, w)),
        ("CAGradWeighting", {"c": C}, cagrad_error),
    ):
        try:
            solver = getattr(peer, name)(**options)
        except ImportError as error:
            print(f"| {name} | not run: {str(error).splitlines()[0]} | | | |")
            continue
        for family in (random, spread, near_stationary, correlated_spread):
            for m in (3, 8, 32):
                worst, times = -np.inf, []
                for seed in range(seeds):
                    jacobian = family(m, np.random.default_rng(seed))
                    gramian = torch.from_numpy(jacobian @ jacobian.T)
                    weights, ms = timed(lambda g=gramian, s=solver: s(g), 1)
                    worst = max(worst, measure(gramian.numpy(), weights.numpy()))
                    times.append(ms)
                print(
                    f"| {name} | {family.__name__} | {m} | {worst:.0e} | {np.median(times):.2f} |"
                )
    print("| NashMTL | works on the Jacobian and needs cvxpy with ECOS | | | |")
    print("\nErrors: 1 - min g_i·d/|d|² (MGDA), -min cos(g_i, update) (UPGrad), gap (CAGrad).")


def _cosine(gramian: Array, weights: Array) -> float:
    products = gramian @ weights
    norms = np.sqrt(np.diagonal(gramian))
    return float((products / norms).min() / np.sqrt(weights @ products))


def main() -> None:
    """Print all tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--peers", action="store_true", help="also measure TorchJD")
    options = parser.parse_args()
    torch.set_num_threads(1)
    print_solvers(options.seeds)
    print_scale_law(options.seeds)
    print_fair(options.seeds)
    if options.peers:
        print_peers(options.seeds)


if __name__ == "__main__":
    main()
