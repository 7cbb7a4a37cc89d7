"""The front between clean and robust accuracy of few-shot learners: every weighting, as a table."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from moml_experiments._grid import Grid
from moml_experiments._shards import spread
from moml_experiments.few_shot_runs import INNER, best_rates, on_seeds
from tasks import Glyphs

Points = dict[str, list[dict[str, Any]]]


def front(
    scale: dict[str, Any], folder: Path, jobs: int, *, method: str = "MAML"
) -> tuple[Points, str]:
    """The runs of every weighting, and which constant weight validation prefers."""
    names = [*(f"EW {share:g}" for share in scale["shares"]), "MGDA", "MGDA l2", "CAGrad"]
    lines = [
        {"suite": "Glyphs", "method": method, "weighting": name, "size": scale["front"]}
        for name in names
    ]
    scores, rates = zip(*best_rates(lines, scale["front_rates"], folder, jobs), strict=True)
    score = dict(zip(names, scores, strict=True))
    best = max((n for n in names if n.startswith("EW")), key=score.__getitem__)
    runs = on_seeds(lines, rates, scale["seeds"], folder, jobs)
    return dict(zip(names, runs, strict=True)), best


def accuracies(runs: Sequence[dict[str, Any]], objective: str) -> list[float]:
    """Test accuracy in percent, seed by seed."""
    return [100 * run["test"][objective]["accuracy"] for run in runs]


def middle(runs: Sequence[dict[str, Any]]) -> list[float]:
    """Mean of both accuracies, seed by seed: what selection maximised."""
    pairs = zip(accuracies(runs, "clean"), accuracies(runs, "robust"), strict=True)
    return [fmean(pair) for pair in pairs]


def front_grid(points: Points, best: str, scale: dict[str, Any]) -> Grid:
    """One line per weighting."""
    rows = []
    for name, runs in points.items():
        gap = [a - b for a, b in zip(middle(runs), middle(points[best]), strict=True)]
        rows.append([
            _title(name) + (", chosen" if name == best else ""),
            spread(accuracies(runs, "clean")),
            spread(accuracies(runs, "robust")),
            spread(middle(runs)),
            "–" if name == best else _interval(gap),
            f"{runs[0]['rate']:g}",
            f"{fmean(run['cpu_seconds'] for run in runs):.0f}",
        ])  # fmt: skip
    head = ["Weighting", "clean, %", "PGD-10, %", "mean, %", "− chosen EW", "rate", "CPU s"]
    eps = Glyphs.defaults.eps
    note = (
        f"Glyphs, 5-way 1-shot, MAML with {INNER['Glyphs']['inner_steps']} inner steps on a "
        f"network 784-64-64-5, {scale['front']['steps']} meta-steps of 4 episodes, L∞ ball of "
        f"radius {eps:g}. Rates among {', '.join(f'{r:g}' for r in scale['front_rates'])}, and the "
        "constant weights called chosen, by validation on a seed apart. "
        f"Test accuracy over {scale['front']['test_episodes']} episodes, mean ± "
        f"sample standard deviation over {len(scale['seeds'])} seeds; differences of the means are "
        "paired by seed, with 95 % t intervals. EW: constant weights, the clean loss first. "
        "MGDA l2: of meta-gradients of unit length."
    )
    return "The front between clean and robust accuracy", head, rows, note


def _title(name: str) -> str:
    if not name.startswith("EW"):
        return name
    share = float(name.split()[1])
    return f"EW {share:g} : {1 - share:g}"


def _interval(gaps: Sequence[float]) -> str:
    if len(gaps) < 2:
        return f"{gaps[0]:+.1f}"
    from scipy.stats import t

    half = t.ppf(0.975, len(gaps) - 1) * stdev(gaps) / len(gaps) ** 0.5
    return f"{fmean(gaps):+.1f} [{fmean(gaps) - half:+.1f}, {fmean(gaps) + half:+.1f}]"
