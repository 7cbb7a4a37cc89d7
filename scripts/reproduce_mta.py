"""Multi-task attack generators against single-task ones, on digits in several domains.

One factor at a time around a base setting: MTA with several weightings, GAP (a generator per task)
and GAP as small as MTA; storage, time, fooling rates, one perturbation for all tasks. Of MTA only
the abstract is public, so this reproduces its questions, not its tables. Every result is a JSON
file of its own: run it again after a break and it goes on where it was.

    python scripts/reproduce_mta.py --output runs/mta [--smoke] [--jobs 2]

A method's learning rate is chosen on the validation split of a seed that is not reported. Victims,
data and generators differ from seed to seed; differences are paired by seed. The full size takes
about an hour on two cores, ``--smoke`` less than one minute.
"""

from __future__ import annotations

import os

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_name] = "1"

import argparse
import base64
import io
import json
import multiprocessing
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from statistics import mean, median, stdev
from typing import Any

import torch
from torch import Tensor, nn

import moml
from moml.architecture import HPS, Architecture
from moml.attack import (
    FGSM, L2, PGD, Attack, Linf, Victim, cross_entropy, margin, misclassified,
)  # fmt: skip
from moml.attack._ascent import Ascent
from moml.attack.generator import (
    GAP, MTA, Aim, Generator, ImageDecoder, ImageEncoder, SideBySide,
)  # fmt: skip
from moml.attack.one_delta import OneDelta
from moml.backbone import SmallCNN
from moml.data import Batch, Loader, MultiLoader, TensorSource
from moml.oracle import Direct
from moml.report.html import cell, element, escape, facts, section, table
from moml.report.page import page
from moml.weighting import EW, MGDA, RLW, CAGrad, PCGrad, Weighting, WeightSum
from moml.weighting._batched import batched_min_norm
from tasks import DigitAttributes, OfficeDigits

WEIGHTINGS: dict[str, Callable[[], Weighting]] = {
    "EW": EW,
    "RLW": lambda: WeightSum(RLW()),
    "MGDA": lambda: WeightSum(MGDA()),
    "PCGrad": PCGrad,
    "CAGrad": lambda: WeightSum(CAGrad()),
}
SEPARATE, MATCHED = "GAP, one per task", "GAP, size-matched"
METHODS = (*(f"MTA {name}" for name in WEIGHTINGS), SEPARATE, MATCHED)
ATTRIBUTES = ("digit", "parity", "high", "loop")  # attacked with one perturbation
VALIDATION_SEED = 100


@dataclass(frozen=True)
class Scale:
    """How much is computed."""

    name: str
    size: int
    domains: tuple[str, ...]
    victim_steps: int
    steps: int
    batch_size: int
    seeds: int
    other_seeds: int
    methods: tuple[str, ...]
    rates: tuple[float, ...]
    settings: tuple[str, ...]
    images: int
    hardening: float


@dataclass(frozen=True)
class Setting:
    """One point of the design; everything but one field is the base's."""

    eps: float = 0.15
    universal: bool = False
    targeted: bool = False
    loss: str = "margin"
    opposing: bool = False
    domains: tuple[str, ...] = ()


SETTINGS = {
    "base": Setting(),
    "universal": Setting(universal=True),
    "targeted": Setting(targeted=True),
    "eps 0.10": Setting(eps=0.10),
    "eps 0.20": Setting(eps=0.20),
    "cross-entropy": Setting(loss="cross-entropy"),
    "opposing targets": Setting(opposing=True, targeted=True, eps=0.20),
    "five domains": Setting(domains=("plain", "photo", "turned", "noisy", "edges")),
}
DESCRIPTIONS = {
    "base": "three domains, an own victim each, per instance, non-targeted, eps 0.15, margin loss",
    "universal": "one fixed perturbation per task",
    "targeted": "every digit should become the next one",
    "eps 0.10": "a smaller budget",
    "eps 0.20": "a larger budget",
    "cross-entropy": "minus cross-entropy instead of the bounded margin",
    "opposing targets": "three victims see the same image, each with another target class",
    "five domains": "five tasks instead of three",
}
FULL = Scale(
    "full", 16, ("plain", "photo", "turned"), 300, 300, 32, 5, 2, METHODS, (1e-3, 3e-3),
    tuple(SETTINGS), 256, 0.04,
)  # fmt: skip
SMOKE = Scale(
    "smoke", 8, ("plain", "turned"), 100, 40, 32, 1, 1, ("MTA EW", "MTA MGDA", SEPARATE, MATCHED),
    (3e-3,), ("base", "universal"), 64, 0.0,
)  # fmt: skip


# What is attacked -----------------------------------------------------------------------------


def classifier(size: int, classes: int = 10) -> nn.Module:
    """A small victim."""
    encoder = SmallCNN((size, size), channels=16, out_features=64)
    return nn.Sequential(encoder, nn.Linear(encoder.out_features, classes))


def train_victim(
    source: TensorSource, task: str, *, classes: int, steps: int, size: int, seed: int, eps: float
) -> nn.Module:
    """A classifier; for ``eps > 0`` the last third of its steps see perturbed inputs."""
    torch.manual_seed(seed)
    model, draw = classifier(size, classes), torch.Generator().manual_seed(seed)
    optimizer = torch.optim.Adam(model.parameters(), 1.5e-3)
    harden = PGD(Linf(eps), steps=3, step_size=eps / 2, early_stop=False) if eps else None
    for step in range(steps):
        chosen = torch.randint(len(source), (64,), generator=draw)
        x, y = source.inputs[chosen], source.targets[task][chosen]
        if harden is not None and step >= 0.7 * steps:
            x = harden.perturb(Victim(model).objective(y, loss=cross_entropy), x)
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()
    return model


def victim_of(scale: Scale, out: Path, domain: str, seed: int, copy: int = 0) -> nn.Module:
    """The victim of a domain, trained once per seed."""
    path = out / "victims" / f"{scale.name} {domain} {seed} {copy}.pt"
    model = classifier(scale.size)
    if path.exists():
        model.load_state_dict(torch.load(path, weights_only=True))
        return model
    source = OfficeDigits(domains=[domain], size=scale.size, seed=seed).sources("train")[domain]
    assert isinstance(source, TensorSource)
    model = train_victim(
        source, domain, classes=10, steps=scale.victim_steps, size=scale.size,
        seed=1000 * copy + seed, eps=0.0,
    )  # fmt: skip
    path.parent.mkdir(parents=True, exist_ok=True)
    partial_path = path.with_suffix(f".{os.getpid()}")
    torch.save(model.state_dict(), partial_path)
    partial_path.replace(path)
    return model


# What attacks ---------------------------------------------------------------------------------


def shared(tasks: Sequence[str], *, width: int = 8) -> HPS:
    """One encoder, a decoder per task."""
    encoder = ImageEncoder(1, width=width)
    return HPS(encoder, {task: ImageDecoder(encoder.out_features) for task in tasks})


def separate(tasks: Sequence[str], *, width: int = 8, blocks: int = 2) -> GAP:
    """An encoder and a decoder per task."""
    return GAP(
        tasks, encoder=lambda: ImageEncoder(1, width=width, blocks=blocks), decoder=ImageDecoder
    )


def count(module: nn.Module) -> int:
    """Number of parameters."""
    return sum(p.numel() for p in module.parameters())


def architecture(method: str, tasks: Sequence[str]) -> Architecture:
    """The network of a method."""
    if method == SEPARATE:
        return separate(tasks)
    if method == MATCHED:
        # One block less is the strongest way to be small on the validation seed: mean fooling 61 %,
        # against 40 % for two blocks of fewer channels and 43 % for no block and more channels.
        sizes = [partial(separate, tasks, width=width, blocks=1) for width in range(2, 9)]
        return GAP.matched(count(shared(tasks)), sizes)
    return shared(tasks)


def bounded_margin(logits: Tensor, labels: Tensor) -> Tensor:
    """The margin until the prediction is wrong by 1: no sample is attacked further than needed."""
    return margin(logits, labels).clamp(max=1.0)


def bounded_toward(logits: Tensor, labels: Tensor) -> Tensor:
    """The same for targeted attacks, where the margin is lowered."""
    return margin(logits, labels).clamp(min=-1.0)


@dataclass(frozen=True)
class Case:
    """Data and aims of one setting and seed."""

    aims: dict[str, Aim]
    sources: dict[str, TensorSource] | TensorSource
    val: Batch
    test: Batch


def case_of(setting: Setting, scale: Scale, out: Path, seed: int) -> Case:
    """Victims, data and aims."""
    if setting.opposing:
        tasks = tuple(f"victim {i}" for i in range(3))
        models = [victim_of(scale, out, "plain", seed, copy=i) for i in range(3)]
        domains = ["plain"] * 3
    else:
        tasks = domains = list(setting.domains or scale.domains)
        models = [victim_of(scale, out, domain, seed) for domain in domains]
    aims = {}
    for i, (task, model) in enumerate(zip(tasks, models, strict=True)):
        if setting.loss == "cross-entropy":
            aim = Aim(Victim(model))
        else:
            aim = Aim(Victim(model), loss=bounded_toward if setting.targeted else bounded_margin)
        shift = 1 + 3 * i if setting.opposing else 1
        aims[task] = aim.towards(partial(next_digit, shift=shift)) if setting.targeted else aim
    suite = OfficeDigits(domains=list(dict.fromkeys(domains)), size=scale.size, seed=seed)
    parts: dict[str, Any] = {}
    for split in ("train", "val", "test"):
        found = suite.sources(split)  # type: ignore[arg-type]
        if setting.opposing:
            plain = found["plain"]
            parts[split] = TensorSource(plain.inputs, dict.fromkeys(tasks, plain.targets["plain"]))
        else:
            parts[split] = found
    return Case(aims, parts["train"], whole(parts["val"]), whole(parts["test"]))


def next_digit(labels: Tensor, *, shift: int) -> Tensor:
    """The target class of a targeted attack."""
    return (labels + shift) % 10


def whole(source: dict[str, TensorSource] | TensorSource) -> Batch:
    """A split as one batch."""
    if isinstance(source, TensorSource):
        return source.batch(torch.arange(len(source)))
    inputs = {task: one.inputs for task, one in source.items()}
    return Batch(inputs, {task: one.targets[task] for task, one in source.items()})


def loader_of(sources: Any, batch_size: int, seed: int) -> Loader | MultiLoader:
    """Shuffled training batches."""

    def one(source: TensorSource, number: int) -> Loader:
        return Loader(source, batch_size, shuffle=True, drop_last=True, seed=1000 * seed + number)

    if isinstance(sources, TensorSource):
        return one(sources, 0)
    return MultiLoader({task: one(source, i) for i, (task, source) in enumerate(sources.items())})


# One job, one file ----------------------------------------------------------------------------


@dataclass(frozen=True)
class Job:
    """Something to compute, and the name of its file."""

    kind: str
    scale: Scale
    setting: str = "base"
    method: str = ""
    seed: int = 0
    rate: float = 0.0

    def path(self, out: Path) -> Path:
        """Where its result is kept."""
        parts = [self.scale.name, self.kind, self.setting, self.method, str(self.seed)]
        parts += [f"{self.rate:g}"] if self.rate else []
        return out / "shards" / (" ".join(p for p in parts if p).replace(",", "") + ".json")


def execute(job: Job, out: Path) -> None:
    """Compute and write, whole or not at all."""
    torch.set_num_threads(1)
    result = {"generator": run_generator, "attack": run_attacks, "one": run_one_delta}[job.kind](
        job, out
    )
    path = job.path(out)
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_suffix(".draft")
    draft.write_text(json.dumps(result))
    draft.replace(path)
    print(path.stem, flush=True)


def run_generator(job: Job, out: Path) -> dict[str, Any]:
    """Train a generator and judge it on the validation and the test split."""
    setting, scale = SETTINGS[job.setting], job.scale
    case = case_of(setting, scale, out, job.seed)
    torch.manual_seed(job.seed)
    net = architecture(job.method, tuple(case.aims))
    shape = (1, scale.size, scale.size) if setting.universal else None
    problem = MTA(Generator(net, ball=Linf(setting.eps), universal=shape), case.aims)
    weighting = WEIGHTINGS.get(job.method.removeprefix("MTA "), EW)()
    optimizer = torch.optim.Adam(problem.module.parameters(), job.rate, betas=(0.5, 0.999))
    start = time.process_time()
    moml.fit(
        problem, Direct(), weighting, optimizer,
        loader_of(case.sources, scale.batch_size, job.seed), steps=scale.steps,
    )  # fmt: skip
    seconds = time.process_time() - start
    result = {
        "parameters": count(net),
        "seconds": seconds,
        "val": problem.evaluate([case.val]),
        "test": problem.evaluate([case.test]),
    }
    if job.setting == "base" and job.seed == 0:
        result["pictures"] = pictures(problem, case.test)
    return result


@torch.no_grad()
def pictures(problem: MTA, batch: Batch) -> dict[str, Any]:
    """Three inputs a task: clean, perturbed, and what the victim says of both."""
    found = {}
    inputs = {task: x[:3] for task, x in batch.inputs.items()}  # type: ignore[union-attr]
    for task, x_adv in problem.generator(inputs).items():
        model = problem.aims[task].victim.model.eval()
        found[task] = {
            "clean": inputs[task][:, 0].tolist(),
            "perturbed": x_adv[:, 0].tolist(),
            "said": [model(inputs[task]).argmax(1).tolist(), model(x_adv).argmax(1).tolist()],
        }
    return found


def run_attacks(job: Job, out: Path) -> dict[str, Any]:
    """Noise of the same norm, FGSM and PGD, on every task of a setting."""
    setting = SETTINGS[job.setting]
    case, ball = case_of(setting, job.scale, out, job.seed), Linf(SETTINGS[job.setting].eps)
    attacks: dict[str, Attack | None] = {
        "noise": None, "FGSM": FGSM(ball), "PGD-10": PGD(ball, seed=1),
        "PGD-50": PGD(ball, steps=50, seed=1),
    }  # fmt: skip
    draw, result = torch.Generator().manual_seed(job.seed), {}
    for name, attack in attacks.items():
        result[name] = {}
        for task, aim in case.aims.items():
            x = case.test.inputs if isinstance(case.test.inputs, Tensor) else case.test.inputs[task]
            y = case.test.targets[task]
            y = y if aim.relabel is None else aim.relabel(y)
            goal = aim.victim.objective(y, loss=aim.loss, success=aim.success)
            if attack is None:
                signs = torch.where(torch.rand(x.shape, generator=draw) < 0.5, -1.0, 1.0)
                x_adv = (x + ball.eps * signs).clamp(0, 1)
            else:
                x_adv = attack.perturb(goal, x)
            before, after = goal.reached(x), goal.reached(x_adv)
            result[name][task] = float((after & ~before).sum() / (~before).sum())
    return result


def run_one_delta(job: Job, out: Path) -> dict[str, Any]:
    """One perturbation for four attributes of a digit; share of samples with all four fooled."""
    suite, models = DigitAttributes(seed=job.seed), {}
    for i, task in enumerate(ATTRIBUTES):
        source = suite.sources("train")
        assert isinstance(source, TensorSource)
        models[task] = train_victim(
            source, task, classes=10 if task == "digit" else 2, size=16,
            steps=round(5 * job.scale.victim_steps / 3), seed=10 * job.seed + i,
            eps=job.scale.hardening,
        )  # fmt: skip
    victim, data = Victim(SideBySide(models)), suite.sources("test").batch(torch.arange(994))
    assert isinstance(data.inputs, Tensor)
    with torch.no_grad():
        said = victim(data.inputs)
    right = torch.stack([said[t].argmax(1) == data.targets[t] for t in ATTRIBUTES], 1).all(1)
    chosen = right.nonzero()[: job.scale.images, 0]
    x, y = data.inputs[chosen], {t: data.targets[t][chosen] for t in ATTRIBUTES}

    def goal(tasks: Iterable[str]) -> Any:
        return victim.objective(
            y, loss=dict.fromkeys(tasks, cross_entropy), success=dict.fromkeys(tasks, misclassified)
        )

    result: dict[str, Any] = {"samples": len(x)}
    for eps in (0.10, 0.15):
        ball, rows = Linf(eps), {}
        ascents: dict[str, Ascent | None] = {
            "sum": None,
            "sum, unit gradients": OneDelta(EW(), ball=ball, goal_mask=False),
            "max-min (L2)": OneDelta(ball=L2(1.0), goal_mask=False),
            "max-min (L1 dual)": OneDelta(ball=ball, goal_mask=False),
            "goal mask, sum": OneDelta(EW(), ball=ball, unit=False),
            "goal mask, sum, unit gradients": OneDelta(EW(), ball=ball),
            "goal mask, max-min (L2)": OneDelta(ball=L2(1.0)),
            "goal mask, max-min (L1 dual)": OneDelta(ball=ball),
        }
        for name, ascent in ascents.items():
            x_adv = PGD(ball, steps=20, ascent=ascent, seed=1).perturb(goal(ATTRIBUTES), x)
            rows[name] = float(goal(ATTRIBUTES).reached(x_adv).all(1).double().mean())
        alone = [
            goal([t]).reached(PGD(ball, steps=20, seed=1).perturb(goal([t]), x)) for t in ATTRIBUTES
        ]
        rows["bound: a perturbation per task"] = float(torch.cat(alone, 1).all(1).double().mean())
        result[f"eps {eps:.2f}"] = rows
    return result


# Time and storage -----------------------------------------------------------------------------


def timings(images: int, numbers: Sequence[int]) -> dict[str, Any]:
    """Single-input generators for several numbers of tasks, PGD-10, and the batched solver."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    x, found = torch.rand(images, 1, 16, 16), {}
    for tasks in ([f"t{i}" for i in range(n)] for n in numbers):
        nets = {"MTA": shared(tasks), "GAP": separate(tasks)}
        ready = {name: Generator(net, ball=Linf(0.1)) for name, net in nets.items()}
        victims = [Victim(classifier(16)) for _ in tasks]
        goals = [
            v.objective(torch.zeros(images, dtype=torch.long), loss=cross_entropy) for v in victims
        ]
        calls: dict[str, Callable[[], Any]] = {n: partial(no_grad, g, x) for n, g in ready.items()}
        seconds = interleaved(calls, rounds=9)
        seconds |= interleaved({"PGD-10": partial(perturb_all, goals, x)}, rounds=1)
        found[len(tasks)] = seconds | {f"{n} parameters": count(net) for n, net in nets.items()}
    found["solver"] = solver_share()
    return found


def no_grad(generator: Generator, x: Tensor) -> None:
    """A forward pass."""
    with torch.no_grad():
        generator(x)


def perturb_all(goals: Iterable[Any], x: Tensor) -> None:
    """PGD-10 on every task, all its steps."""
    attack = PGD(Linf(0.1))
    for goal in goals:
        attack.perturb(goal, x)


def solver_share() -> float:
    """Batched minimum-norm solve over one PGD step on four tasks, 256 samples."""
    net = SideBySide({t: classifier(16, 10 if t == "digit" else 2) for t in ATTRIBUTES})
    x = torch.rand(256, 1, 16, 16)
    y = {t: torch.zeros(256, dtype=torch.long) for t in ATTRIBUTES}
    goal = Victim(net).objective(y, loss=dict.fromkeys(ATTRIBUTES, cross_entropy))
    step = PGD(Linf(0.1), steps=1)
    rows = torch.randn(256, 4, 256, dtype=torch.float64)
    gramian = rows @ rows.mT
    seconds = interleaved(
        {"step": lambda: step.perturb(goal, x), "solve": lambda: batched_min_norm(gramian)}, 9
    )
    return seconds["solve"] / seconds["step"]


def interleaved(calls: dict[str, Callable[[], Any]], rounds: int) -> dict[str, float]:
    """Median CPU seconds of calls that take turns."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            start = time.process_time()
            call()
            times[name].append(time.process_time() - start)
    return {name: median(values) for name, values in times.items()}


# The page -------------------------------------------------------------------------------------


Grid = tuple[str, list[str], list[list[str]], str]  # title, head, rows, note


def fooled(result: dict[str, Any], split: str = "test") -> list[float]:
    """Percent per task."""
    return [100 * task["fooled"] for task in result[split].values()]


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


def seeds_of(scale: Scale, setting: str) -> range:
    """Reported seeds of a setting."""
    return range(scale.seeds if setting == "base" else scale.other_seeds)


def setting_grid(setting: str, scale: Scale, rates: dict[str, float], out: Path) -> Grid:
    """Fooling rates of one setting."""
    seeds = seeds_of(scale, setting)
    load = partial(read, out)
    attacks = [load(Job("attack", scale, setting, seed=s)) for s in seeds]
    tasks = list(attacks[0]["noise"])
    rows = []
    for name in attacks[0]:
        per_task = [[100 * a[name][task] for a in attacks] for task in tasks]
        rows.append([name, *summary(per_task), "", ""])
    reference = {
        m: [load(Job("generator", scale, setting, m, s, rates[m])) for s in seeds]
        for m in scale.methods
    }
    for method, runs in reference.items():
        per_seed = [fooled(run) for run in runs]
        differences = [
            interval([mean(a) - mean(fooled(b)) for a, b in zip(per_seed, other, strict=True)])
            if method != name
            else "–"
            for name, other in ((n, reference[n]) for n in (MATCHED, SEPARATE))
        ]
        per_task = [list(column) for column in zip(*per_seed, strict=True)]
        rows.append([method, *summary(per_task), *differences])
    head = ["", *tasks, "mean", "worst task", "− size-matched GAP", "− GAP"]
    return f"Fooling rates: {setting}", head, rows, DESCRIPTIONS[setting]


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
        [name, *(spread([100 * run[eps][name] for run in runs]) for eps in radii)]
        for name in runs[0][radii[0]]
    ]
    return (
        "One perturbation for four tasks", ["all tasks fooled, %", *radii], rows,
        "PGD-20 on separate victims for digit, parity, high and loop (lightly hardened at full "
        "size); among samples that all victims get right.",
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


def picture(scale: Scale, rates: dict[str, float], out: Path) -> str:
    """Clean inputs, perturbations and perturbed inputs, as an image within the page."""
    from matplotlib.figure import Figure

    shown = [m for m in ("MTA EW", SEPARATE) if m in scale.methods]
    found = {
        m: read(out, Job("generator", scale, "base", m, 0, rates[m]))["pictures"] for m in shown
    }
    tasks = list(found[shown[0]])
    figure = Figure(figsize=(1.1 * (1 + 2 * len(shown)) * 3, 1.25 * len(tasks)))
    axes = figure.subplots(len(tasks), 3 * (1 + 2 * len(shown)), squeeze=False)
    for row, task in zip(axes, tasks, strict=True):
        for i in range(3):
            clean = torch.tensor(found[shown[0]][task]["clean"][i])
            cells = [(clean, f"{found[shown[0]][task]['said'][0][i]}")]
            for method in shown:
                x_adv = torch.tensor(found[method][task]["perturbed"][i])
                cells.append(((x_adv - clean) / 0.3 + 0.5, method.split(",")[0]))
                cells.append((x_adv, f"{found[method][task]['said'][1][i]}"))
            for axis, (image, title) in zip(row[i * len(cells) :], cells, strict=False):
                axis.imshow(image, cmap="gray", vmin=0, vmax=1)
                axis.set_title(title, fontsize=7, pad=2)
    for axis in axes.flat:
        axis.set_axis_off()
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110, bbox_inches="tight")
    data = base64.b64encode(buffer.getvalue()).decode()
    alt = "Clean digits, perturbations and perturbed digits with the victims' predictions"
    return element("img", "", src=f"data:image/png;base64,{data}", alt=alt, style="max-width:100%")


def markdown(grids: Iterable[Grid]) -> str:
    """All tables as text."""
    lines = ["# Multi-task attack generators"]
    for title, head, rows, note in grids:
        lines += ["", f"## {title}", "", note, "", "| " + " | ".join(head) + " |"]
        lines += ["|" + "---|" * len(head), *("| " + " | ".join(row) + " |" for row in rows)]
    return "\n".join(lines) + "\n"


def write(scale: Scale, rates: dict[str, float], costs: dict[str, Any], out: Path) -> None:
    """The page and the text."""
    grids = [setting_grid(s, scale, rates, out) for s in scale.settings]
    grids += [one_delta_grid(scale, out), cost_grid(costs)]
    sections = [
        section(
            title,
            table(
                [cell(escape(c), tag="th") for c in head],
                [[cell(escape(c)) for c in row] for row in rows],
            ),
            note=escape(note),
        )
        for title, head, rows, note in grids
    ]
    protocol = facts([
        ("seeds at the base", str(scale.seeds)), ("seeds elsewhere", str(scale.other_seeds)),
        ("steps", str(scale.steps)), ("samples per step and task", str(scale.batch_size)),
        *((f"rate, {m}", f"{r:g}") for m, r in rates.items()),
    ])  # fmt: skip
    if "base" in scale.settings:
        note = "Above each input what its victim says; perturbations on a grey ground."
        sections.insert(1, section("Perturbations", picture(scale, rates, out), note=note))
    html = page("Multi-task attack generators", "moml · reproduce_mta", [protocol, *sections])
    (out / "mta.html").write_text(html, encoding="utf-8")
    (out / "mta.md").write_text(markdown(grids), encoding="utf-8")
    print(markdown(grids))
    print(f"Written: {out / 'mta.html'} and {out / 'mta.md'}")


# All of it ------------------------------------------------------------------------------------


def read(out: Path, job: Job) -> dict[str, Any]:
    """A stored result."""
    return json.loads(job.path(out).read_text())


def compute(jobs: Sequence[Job], out: Path, workers: int) -> None:
    """Whatever is not stored yet."""
    missing = [job for job in jobs if not job.path(out).exists()]
    if workers == 1:
        for job in missing:
            execute(job, out)
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context) as pool:
        for future in [pool.submit(execute, job, out) for job in missing]:
            future.result()


def tuned(scale: Scale, out: Path, workers: int) -> dict[str, float]:
    """Learning rate per method, by the mean fooling rate on validation data of a seed apart."""
    if len(scale.rates) == 1:
        return dict.fromkeys(scale.methods, scale.rates[0])
    jobs = {
        m: [Job("generator", scale, "base", m, VALIDATION_SEED, r) for r in scale.rates]
        for m in scale.methods
    }
    compute([job for some in jobs.values() for job in some], out, workers)
    return {
        m: max(some, key=lambda job: mean(fooled(read(out, job), "val"))).rate
        for m, some in jobs.items()
    }


def main() -> None:
    """Compute what is missing, then write the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=Path("runs/mta"))
    parser.add_argument("--smoke", action="store_true", help="the smallest size, under a minute")
    parser.add_argument("--jobs", type=int, default=2, help="processes")
    parser.add_argument("--settings", nargs="+", choices=list(SETTINGS), help="some of them only")
    parser.add_argument("--seeds", type=int, help="seeds at the base instead of the size's own")
    options = parser.parse_args()
    scale, out = SMOKE if options.smoke else FULL, options.output
    if options.seeds:
        scale = replace(scale, seeds=options.seeds)
    if options.settings:
        scale = replace(scale, settings=tuple(options.settings))
    out.mkdir(parents=True, exist_ok=True)
    rates = tuned(scale, out, options.jobs)
    compute(
        [
            Job("generator", scale, s, m, i, rates[m])
            for s in scale.settings for i in seeds_of(scale, s) for m in scale.methods
        ],
        out, options.jobs,
    )  # fmt: skip
    compute(
        [Job("attack", scale, s, seed=i) for s in scale.settings for i in seeds_of(scale, s)]
        + [Job("one", scale, seed=i) for i in range(min(3, scale.seeds))],
        out, options.jobs,
    )  # fmt: skip
    write(scale, rates, timings(scale.images, (2, 3) if options.smoke else (2, 3, 5, 10)), out)


if __name__ == "__main__":
    main()
