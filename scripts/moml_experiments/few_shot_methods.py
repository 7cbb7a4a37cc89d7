"""Few-shot methods side by side on clean queries, as a table."""

from __future__ import annotations

from pathlib import Path
from statistics import fmean
from typing import Any

from moml_experiments._grid import Grid
from moml_experiments._shards import spread
from moml_experiments.few_shot_front import accuracies
from moml_experiments.few_shot_runs import best_rates, on_seeds

_LOST = 100  # mean squared error


def method_grid(scale: dict[str, Any], folder: Path, jobs: int) -> Grid:
    """One line per method: clean queries of both suites."""
    cells: dict[str, list[str]] = {}
    for suite, size in scale["suites"].items():
        names = [m for m in scale["methods"] if suite == "Glyphs" or m != "ProtoNet"]
        variants = {
            method: [f"IMAML {x:g}" for x in scale["proximal"]] if method == "IMAML" else [method]
            for method in names
        }
        lines = {
            v: {"suite": suite, "method": v, "weighting": "-", "size": size}
            for several in variants.values() for v in several
        }  # fmt: skip
        rates = best_rates(list(lines.values()), scale["method_rates"], folder, jobs)
        scored = dict(zip(lines, rates, strict=True))
        best = {m: max(several, key=lambda v: scored[v][0]) for m, several in variants.items()}
        runs_of = on_seeds(
            [lines[v] for v in best.values()], [scored[v][1] for v in best.values()],
            scale["seeds"], folder, jobs,
        )  # fmt: skip
        found = dict(zip(names, runs_of, strict=True))
        for method in scale["methods"]:
            cells.setdefault(method, [])
            if method not in found:
                cells[method] += ["–", "–"]
                continue
            runs = [run for run in found[method] if _converged(run, suite)]
            if not runs:
                cells[method] += ["diverged", "–"]
                continue
            values = (
                spread(accuracies(runs, "clean")) if suite == "Glyphs"
                else spread([run["test"]["clean"]["mse"] for run in runs], digits=3)
            )  # fmt: skip
            if lost := len(found[method]) - len(runs):
                values += f" ({lost} of {len(scale['seeds'])} diverged)"
            if best[method] != method:
                values += f", λ = {best[method].split()[1]}"
            cells[method] += [values, f"{fmean(run['cpu_seconds'] for run in runs):.0f}"]
    head = ["Method", "Sinusoid, MSE ↓", "CPU s", "Glyphs, accuracy % ↑", "CPU s"]
    steps = ", ".join(f"{size['steps']} on {suite}" for suite, size in scale["suites"].items())
    note = (
        f"Clean objective alone. Meta-steps: {steps}; batches of 25 waves or 4 episodes; 5 inner "
        "steps in training, 10 and 5 in evaluation (iMAML: 16 in both). Test episodes, mean "
        f"± sample standard deviation over {len(scale['seeds'])} seeds; the meta-learning rate is "
        "chosen for every method, and iMAML's λ; other settings are the suite's. Small and short: "
        "it shows that the methods work, not which is best. Diverged: not finite, or an error over "
        f"{_LOST} (zero everywhere gives about 4)."
    )
    return "Methods", head, [[m, *row] for m, row in cells.items()], note


def _converged(run: dict[str, Any], suite: str) -> bool:
    if "failed" in run:
        return False
    return suite == "Glyphs" or run["test"]["clean"]["mse"] <= _LOST  # false for NaN, too
