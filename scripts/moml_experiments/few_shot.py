"""Few-shot learning: the front between clean and robust accuracy, and methods side by side.

Characters of five classes from one view each (`tasks.Glyphs`), a fully connected network, MAML.
Two objectives: the loss of the queries, and of queries perturbed by FGSM; evaluation perturbs by
PGD-10 in the same ball. Every line takes equally many meta-steps of Adam; its rate is chosen, and
the weight of equal weighting, on validation episodes of a seed that is not reported; weights of the
network are selected on validation episodes, and test episodes looked at once.

    python scripts/moml_experiments/few_shot.py --output runs/moml [--smoke] [--docs docs/meta.md]
"""

from __future__ import annotations

import os

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_name] = "1"

import argparse
import base64
import io
import re
import sys
import tempfile
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import torch

if __name__ == "__main__":
    sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parents[2])]

import moml.meta.method as methods
from moml.backbone import MLP
from moml.errors import NonFiniteError
from moml.meta_trainer import MetaTrainer
from moml.report.html import cell, element, escape, section, table
from moml.weighting import (
    EW,
    MGDA,
    CAGrad,
    Constant,
    GradientNormalization,
    Weighting,
    WeightSum,
)
from moml_experiments._shards import run_shards, spread
from tasks import Glyphs, Sinusoid

VALIDATION_SEED = 100
FULL: dict[str, Any] = {
    "seeds": [0, 1, 2], "shares": [0.9, 0.7, 0.5, 0.3, 0.1],
    "front_rates": [1e-4, 3e-4, 1e-3, 3e-3, 1e-2], "method_rates": [1e-3, 3e-3, 1e-2],
    "front": {"steps": 300, "eval_every": 100, "val_episodes": 60, "test_episodes": 300},
    "suites": {
        "Sinusoid": {"steps": 500, "eval_every": 125, "val_episodes": 100, "test_episodes": 600},
        "Glyphs": {"steps": 300, "eval_every": 100, "val_episodes": 60, "test_episodes": 300},
    },
    "methods": ["MAML", "FOMAML", "ANIL", "BOIL", "Reptile", "MetaSGD", "MAMLPlusPlus", "IMAML",
                "ProtoNet"],
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
Grid = tuple[str, list[str], list[list[str]], str]  # title, head, rows, note


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
    *, suite: str, method: str, weighting: str, rate: float, seed: int, size: dict[str, int]
) -> dict[str, Any]:
    """One run: validation score, test metrics and their intervals, CPU seconds."""
    torch.manual_seed(seed)
    glyphs = suite == "Glyphs"
    front = weighting != "-"
    options: dict[str, Any] = {"on_invalid": "ignore"} if method == "IMAML" else {}
    trainer = MetaTrainer(
        Glyphs() if glyphs else Sinusoid(),
        getattr(methods, method)(**options),
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
    parts = (job["suite"], job["method"], job["weighting"], f"{job['rate']:g}", str(job["seed"]))
    return "_".join(parts).replace(" ", "")


def tuned(
    lines: Sequence[dict[str, Any]],
    rates: Sequence[float],
    seeds: Sequence[int],
    folder: Path,
    jobs: int,
) -> list[tuple[float, list[dict[str, Any]]]]:
    """Every line's validation score at its best rate, and its runs there on all seeds."""
    scores, chosen = [0.0] * len(lines), [rates[0]] * len(lines)
    if len(rates) > 1:
        tries = [
            {**line, "rate": rate, "seed": VALIDATION_SEED}
            for line in lines for rate in rates
        ]  # fmt: skip
        found = run_shards(train, {file_of(t): t for t in tries}, folder, processes=jobs)
        for i, line in enumerate(lines):
            by_rate = {
                rate: found[file_of({**line, "rate": rate, "seed": VALIDATION_SEED})]["val_score"]
                for rate in rates
            }
            chosen[i] = max(by_rate, key=lambda rate: by_rate[rate])
            scores[i] = by_rate[chosen[i]]
    rows = [
        {**line, "rate": rate, "seed": seed}
        for line, rate in zip(lines, chosen, strict=True) for seed in seeds
    ]  # fmt: skip
    found = run_shards(train, {file_of(r): r for r in rows}, folder, processes=jobs)
    return [
        (score, [{**found[file_of(r)], "rate": rate} for r in rows if _is_of(r, line)])
        for line, rate, score in zip(lines, chosen, scores, strict=True)
    ]


def _is_of(row: dict[str, Any], line: dict[str, Any]) -> bool:
    return all(row[key] == line[key] for key in ("suite", "method", "weighting"))


# The front ------------------------------------------------------------------------------------

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
    found = dict(
        zip(names, tuned(lines, scale["front_rates"], scale["seeds"], folder, jobs), strict=True)
    )
    best = max((n for n in names if n.startswith("EW")), key=lambda n: found[n][0])
    return {name: runs for name, (_, runs) in found.items()}, best


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


def picture(points: Points, form: str) -> bytes:
    """Clean against robust accuracy: seeds small, means large, constant weights joined."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 4.2))
    axes = figure.subplots()
    constant = [name for name in points if name.startswith("EW")]
    groups = {"EW, constant weights": constant} | {n: [n] for n in points if n not in constant}
    colors = ("#5b6770", "#0c58a0", "#2a9d8f", "#b33e06")
    styles = zip(groups.items(), colors, "os^D", strict=True)
    for (label, names), color, marker in styles:
        means = []
        for name in names:
            x, y = accuracies(points[name], "clean"), accuracies(points[name], "robust")
            axes.plot(x, y, marker, color=color, alpha=0.35, markersize=4, linestyle="none")
            means.append((fmean(x), fmean(y)))
        axes.plot(*zip(*means, strict=True), marker + "-", color=color, label=label, markersize=8)
    for name in constant:
        x, y = fmean(accuracies(points[name], "clean")), fmean(accuracies(points[name], "robust"))
        axes.annotate(name.split()[1], (x, y), xytext=(6, 6), textcoords="offset points")
    axes.set_xlabel("clean query accuracy, %")
    axes.set_ylabel("query accuracy under PGD-10, %")
    axes.grid(alpha=0.25)
    axes.legend(frameon=False)
    buffer = io.BytesIO()
    figure.savefig(buffer, format=form, dpi=120, bbox_inches="tight", metadata=_NO_DATE[form])
    return buffer.getvalue()


_NO_DATE: dict[str, dict[str, Any]] = {"png": {}, "svg": {"Date": None}}


# Methods --------------------------------------------------------------------------------------


def method_grid(scale: dict[str, Any], folder: Path, jobs: int) -> Grid:
    """One line per method: clean queries of both suites."""
    cells: dict[str, list[str]] = {}
    for suite, size in scale["suites"].items():
        names = [m for m in scale["methods"] if suite == "Glyphs" or m != "ProtoNet"]
        lines = [{"suite": suite, "method": m, "weighting": "-", "size": size} for m in names]
        found = dict(
            zip(
                names,
                tuned(lines, scale["method_rates"], scale["seeds"], folder, jobs),
                strict=True,
            )
        )
        for method in scale["methods"]:
            cells.setdefault(method, [])
            if method not in found:
                cells[method] += ["–", "–"]
                continue
            runs = found[method][1]
            values = (
                spread(accuracies(runs, "clean")) if suite == "Glyphs"
                else spread([run["test"]["clean"]["mse"] for run in runs], digits=3)
            )  # fmt: skip
            cells[method] += [values, f"{fmean(run['cpu_seconds'] for run in runs):.0f}"]
    head = ["Method", "Sinusoid, MSE ↓", "CPU s", "Glyphs, accuracy % ↑", "CPU s"]
    steps = ", ".join(f"{size['steps']} on {suite}" for suite, size in scale["suites"].items())
    note = (
        f"Clean objective alone. Meta-steps: {steps}; batches of 25 waves or 4 episodes; 5 inner "
        "steps in training, 10 and 5 in evaluation (iMAML: 16 in both, λ = 2). Test episodes, mean "
        f"± sample standard deviation over {len(scale['seeds'])} seeds; the meta-learning rate is "
        "chosen for every method, other settings are the suite's. Small and short: it shows that "
        "the methods work, not which is best."
    )
    return "Methods", head, [[m, *row] for m, row in cells.items()], note


# Text -----------------------------------------------------------------------------------------


def run(out: Path, *, smoke: bool, jobs: int) -> str:
    """Compute what is missing; return the section, and write its text and picture."""
    scale, size = (SMOKE, "smoke") if smoke else (FULL, "full")
    folder = out / "shards" / f"few-shot-{size}"
    points, best = front(scale, folder, jobs)
    first = front_grid(points, best, scale)
    _write(out, "front", first)
    (out / "few_shot_front.svg").write_bytes(picture(points, "svg"))
    second = method_grid(scale, folder, jobs)
    _write(out, "methods", second)
    data = base64.b64encode(picture(points, "png")).decode()
    image = element("img", "", src=f"data:image/png;base64,{data}", style="max-width:100%",
                    alt="Clean against robust accuracy of every weighting")  # fmt: skip
    parts = [element("h3", first[0]), _table(first), image, element("h3", second[0])]
    return section("Few-shot learning", *parts, _table(second))


def _write(out: Path, name: str, grid: Grid) -> None:
    text = markdown(grid)
    (out / f"few_shot_{name}.md").write_text(text, encoding="utf-8")
    print(text)


def _table(grid: Grid) -> str:
    _, head, rows, note = grid
    titles = [cell(escape(t), tag="th", class_="num" if i else "") for i, t in enumerate(head)]
    lines = [
        [cell(escape(row[0]), tag="th"), *(cell(escape(t), class_="num") for t in row[1:])]
        for row in rows
    ]
    return table(titles, lines) + element("p", escape(note))


def markdown(grid: Grid) -> str:
    """The table and its note."""
    _, head, rows, note = grid
    lines = ["| " + " | ".join(head) + " |", "|---|" + "---:|" * (len(head) - 1)]
    lines += ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join([*lines, "", note, ""])


def fill(page: Path, out: Path) -> None:
    """Put the tables between the markers of a page, and the picture beside it."""
    text = page.read_text(encoding="utf-8")
    for name in ("front", "methods"):
        content = (out / f"few_shot_{name}.md").read_text(encoding="utf-8")
        pattern = rf"(<!-- few_shot_{name}[^\n]*-->\n).*?(<!-- /few_shot_{name} -->)"
        text = re.sub(pattern, lambda m, c=content: f"{m[1]}{c}{m[2]}", text, flags=re.S)
    page.write_text(text, encoding="utf-8")
    (page.parent / "few_shot_front.svg").write_bytes((out / "few_shot_front.svg").read_bytes())


def main() -> None:
    """This section alone."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--output", type=Path, default=Path("runs/moml"))
    parser.add_argument("--smoke", action="store_true", help="the smallest size")
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    parser.add_argument("--docs", type=Path, help="page whose markers are filled")
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    run(options.output, smoke=options.smoke, jobs=options.jobs)
    if options.docs is not None:
        fill(options.docs, options.output)


if __name__ == "__main__":
    main()
