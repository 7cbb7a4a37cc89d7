"""What was found, as tables."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from mta.jobs import Job, fooled, read, trials
from mta.protocol import DESCRIPTIONS, MATCHED, SEPARATE, TUNED, Scale, seeds_of


Grid = tuple[str, list[str], list[list[str]], str]  # title, head, rows, note


def spread(values: Sequence[float], digits: int = 1) -> str:
    """Mean and standard deviation."""
    if len(values) < 2:
        return f"{values[0]:.{digits}f}"
    return f"{mean(values):.{digits}f} ± {stdev(values):.{digits}f}"


def interval(differences: Sequence[float]) -> str:
    """Mean paired difference with a 95 % t interval."""
    if len(differences) < 2:
        return f"{differences[0]:+.1f}"
    from scipy.stats import t

    half = t.ppf(0.975, len(differences) - 1) * stdev(differences) / len(differences) ** 0.5
    middle = mean(differences)
    return f"{middle:+.1f} [{middle - half:+.1f}, {middle + half:+.1f}]"


def setting_grid(setting: str, scale: Scale, rates: dict[str, float], out: Path) -> Grid:
    """Fooling rates of one setting."""
    seeds = seeds_of(scale, setting)
    attacks = [read(out, Job("attack", scale, setting, seed=s)) for s in seeds]
    tasks = list(attacks[0]["noise"])
    rows = []
    for name in attacks[0]:
        per_task = [[100 * a[name][task] for a in attacks] for task in tasks]
        rows.append([name, *summary(per_task), *[""] * 3])
    found = {m: _runs(m, setting, scale, rates, out) for m in scale.methods}
    for method, per_seed in found.items():
        differences = [
            _against(per_seed, found[other], measure) if method != other else "–"
            for other, measure in ((MATCHED, mean), (SEPARATE, mean), ("MTA EW", min))
        ]
        per_task = [list(column) for column in zip(*per_seed, strict=True)]
        rows.append([method, *summary(per_task), *differences])
    head = [f"{setting}, %", *tasks, "mean", "worst task",
            "mean − size-matched GAP", "mean − GAP", "worst − MTA EW"]  # fmt: skip
    note = f"{DESCRIPTIONS[setting].capitalize()}; {len(seeds)} seed(s)."
    if len(scale.rates) > 1 and setting in TUNED:
        note += (
            f" Best worst task on the validation seed: {_favourite(setting, scale, rates, out)}."
        )
    return f"Fooling rates: {setting}", head, rows, note


def overview_grid(scale: Scale, rates: dict[str, dict[str, float]], out: Path) -> Grid:
    """Mean and worst task of every setting side by side."""
    rows = []
    for method in scale.methods:
        cells = []
        for setting in scale.settings:
            runs = _runs(method, setting, scale, rates[setting], out)
            worst = mean(min(run) for run in runs)
            cells.append(f"{mean(mean(run) for run in runs):.1f} / {worst:.1f}")
        rows.append([method, *cells])
    seeds = ", ".join(f"{s}: {len(seeds_of(scale, s))}" for s in scale.settings)
    return "All settings", ["mean / worst task, %", *scale.settings], rows, f"Seeds — {seeds}."


def _runs(
    method: str, setting: str, scale: Scale, rates: dict[str, float], out: Path
) -> list[list[float]]:
    """Percent fooled by seed and task."""
    seeds = seeds_of(scale, setting)
    jobs = [Job("generator", scale, setting, method, seed, rates[method]) for seed in seeds]
    return [fooled(read(out, job)) for job in jobs]


def _against(
    runs: list[list[float]], others: list[list[float]], measure: Callable[[list[float]], float]
) -> str:
    return interval([measure(a) - measure(b) for a, b in zip(runs, others, strict=True)])


def _favourite(setting: str, scale: Scale, rates: dict[str, float], out: Path) -> str:
    """The weighting that is chosen without a look at the reported seeds."""
    worst = {
        method: min(fooled(read(out, job), "val"))
        for method in scale.methods if method.startswith("MTA")
        for job in trials(scale, setting, method) if job.rate == rates[method]
    }  # fmt: skip
    return max(worst, key=lambda method: worst[method])


def summary(per_task: list[list[float]]) -> list[str]:
    """Cells for every task, their mean and the worst."""
    by_seed = list(zip(*per_task, strict=True))
    return [
        *(spread(values) for values in per_task),
        spread([mean(v) for v in by_seed]),
        spread([min(v) for v in by_seed]),
    ]


def one_delta_grid(scale: Scale, out: Path) -> Grid:
    """One perturbation for all tasks."""
    runs = [read(out, Job("one", scale, seed=s)) for s in range(min(3, scale.seeds))]
    radii = [key for key in runs[0] if key.startswith("eps")]
    rows = [
        [name, *(spread([100 * run[eps][name][-1] for run in runs]) for eps in radii)]
        for name in runs[0][radii[0]]
    ]
    return (
        "One perturbation for four tasks", ["all tasks fooled, %", *radii], rows,
        "PGD-20 on separate victims for digit, parity, high and loop (lightly hardened at full "
        f"size); among samples that all victims get right; {len(runs)} seed(s).",
    )  # fmt: skip


def opposed_grid(scale: Scale, out: Path) -> Grid:
    """One perturbation with another target for every victim."""
    runs = [read(out, Job("opposed", scale, seed=s)) for s in range(scale.seeds)]
    (eps,) = (key for key in runs[0] if key.startswith("eps"))
    worst = {n: [100 * min(run[eps][n][:-1]) for run in runs] for n in runs[0][eps]}
    rows = [
        [name, spread(worst[name]), spread([100 * run[eps][name][-1] for run in runs]),
         interval([a - b for a, b in zip(worst[name], worst["sum"], strict=True)])]
        for name in worst
    ]  # fmt: skip
    head = [f"{eps}, %", "worst task", "all tasks", "worst − sum"]
    return (
        "One perturbation with opposing targets", head, rows,
        "PGD-20; three victims should take the same perturbed image for three different digits; "
        f"{len(runs)} seed(s).",
    )  # fmt: skip


def cost_grid(costs: dict[str, Any]) -> Grid:
    """Storage and time."""
    rows = []
    for number in (key for key in costs if key != "solver"):
        c = costs[number]
        saved = 1 - c["MTA parameters"] / c["GAP parameters"]
        rows.append([
            str(number), f"{c['MTA parameters']:,}", f"{c['GAP parameters']:,}", f"{-saved:.0%}",
            f"{1000 * c['MTA']:.1f}", f"{1000 * c['GAP']:.1f}", f"{c['MTA'] / c['GAP'] - 1:+.0%}",
            f"{c['PGD-10'] / c['MTA']:.0f}x",
        ])  # fmt: skip
    head = ["tasks", "MTA parameters", "GAP parameters", "storage", "MTA, ms", "GAP, ms", "time",
            "faster than PGD-10"]  # fmt: skip
    share = f"{costs['solver']:.1%}"
    return (
        "Storage and time", head, rows,
        "Single-input, one thread, medians. The batched minimum-norm solver for 256 samples and "
        f"four tasks costs {share} of a PGD step on the four victims.",
    )  # fmt: skip


def markdown(grids: Iterable[Grid], *, level: int = 2) -> str:
    """All tables as text."""
    lines = []
    for title, head, rows, note in grids:
        lines += ["", f"{'#' * level} {title}", "", note, "", "| " + " | ".join(head) + " |"]
        lines += ["|" + "---|" * len(head), *("| " + " | ".join(row) + " |" for row in rows)]
    return "\n".join(lines[1:]) + "\n"
