"""Time and storage."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from statistics import median
from typing import Any

import torch
from mta.generators import count, separate, shared
from mta.protocol import ATTRIBUTES
from mta.victims import classifier
from torch import Tensor

from moml.attack import PGD, Linf, Victim, cross_entropy
from moml.attack.generator import Generator, SideBySide
from moml.weighting._batched import batched_min_norm


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
