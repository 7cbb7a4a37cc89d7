"""Few-shot methods side by side on clean queries, as a table."""

from __future__ import annotations

from operator import itemgetter
from pathlib import Path
from statistics import fmean
from typing import Any

from moml_experiments._grid import Grid
from moml_experiments._shards import spread
from moml_experiments.few_shot_front import accuracies
from moml_experiments.few_shot_runs import METHODS, best_rates, on_seeds

_LOST = 100  # mean squared error


def method_grid(scale: dict[str, Any], folder: Path, jobs: int) -> Grid:
    """One line per method: clean queries of both suites."""
    cells: dict[str, list[str]] = {}
    for suite, size in scale["suites"].items():
        names = [m for m in scale["methods"] if suite == "Glyphs" or m != "ProtoNet"]
        lines = [
            {"suite": suite, "method": m, "variant": v, "weighting": "-", "size": size}
            for m in names for v in METHODS[m]
        ]  # fmt: skip
        rates = best_rates(lines, scale["method_rates"], folder, jobs)  # (score, rate) of each
        tried = [(score, rate, line) for (score, rate), line in zip(rates, lines, strict=True)]
        chosen = [max((t for t in tried if t[2]["method"] == m), key=itemgetter(0)) for m in names]
        runs_of = on_seeds(
            [line for *_, line in chosen], [rate for _, rate, _ in chosen],
            scale["seeds"], folder, jobs,
        )  # fmt: skip
        variants = {line["method"]: line["variant"] for *_, line in chosen}
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
            if variants[method]:
                values += f", {variants[method]}"
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
