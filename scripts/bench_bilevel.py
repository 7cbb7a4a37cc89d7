"""Time and memory of bi-level steps relative to plain loops and to `higher`, as Markdown tables.

    python scripts/bench_bilevel.py [--rounds 15] [--sections meta conv objectives memory]

One thread, CPU time. Contenders take turns, one step each, in one process; a ratio is the median
over rounds of the times of the same round. The C library keeps what is freed: else it gives pages
back, or does not, depending on what another contender left at the end of the heap, and the same
plain loop takes 2 000 or 70 000 page faults (``--trim`` leaves it alone). Peak memory is that of a
process of its own above what it held before the step.
"""

from __future__ import annotations

import os

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_name] = "1"

import argparse
import ctypes
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from moml.backbone import Conv4
from moml.bilevel import (
    Bilevel, BilevelProblem, Checkpointed, Compiled, Hypergradient, InnerSGD, Params, Unrolled,
)  # fmt: skip
from moml.bilevel.functional import Functional
from moml.data import Batch, EpisodeBatch
from moml.losses import CrossEntropy, Loss, MeanSquaredError
from moml.few_shot import FewShot

Contenders = Mapping[str, Callable[[], object]]


def keep_freed_memory() -> None:
    """Tell glibc not to return memory; other C libraries are left alone."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        trim_threshold, mmap_threshold = -1, -3  # M_TRIM_THRESHOLD, M_MMAP_THRESHOLD
        mallopt(mmap_threshold, 2**25)
        mallopt(trim_threshold, 2**31 - 1)


def compete(contenders: Contenders, *, baseline: str, rounds: int, warm_up: int = 2) -> None:
    """Print each contender's time, and the baseline's time over it."""
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for turn in range(rounds + warm_up):
        for name, run in contenders.items():
            start = time.process_time()
            run()
            if turn >= warm_up:
                times[name].append(time.process_time() - start)
    print("| contender | ms | times as fast | time over it |")
    print("|---|---:|---:|---:|")
    for name, found in times.items():
        ratio = median(b / t for b, t in zip(times[baseline], found, strict=True))
        print(f"| {name} | {1e3 * median(found):.1f} | {ratio:.2f} | {1 / ratio:.2f} |")
    print(flush=True)


# Meta-gradients --------------------------------------------------------------------------------


def sinusoid() -> nn.Module:
    """The network of MAML's regression."""
    layers = (nn.Linear(1, 40), nn.ReLU(), nn.Linear(40, 40), nn.ReLU(), nn.Linear(40, 1))
    return nn.Sequential(*layers)


def glyph_mlp() -> nn.Module:
    """54 725 parameters."""
    layers = (nn.Linear(784, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 5))
    return nn.Sequential(*layers)


def conv4() -> nn.Module:
    """Four blocks of 32 filters, normalised by the batch."""
    encoder = Conv4(width=32)
    return nn.Sequential(encoder, nn.Linear(encoder.out_features, 5))


def episodes(count: int, shape: tuple[int, ...], support: int, query: int) -> EpisodeBatch:
    """Random data: only its size matters here."""

    def part(size: int) -> Batch:
        inputs = torch.randn(count, size, *shape)
        if shape == (1,):
            return Batch(inputs, {"y": inputs.sin()})
        return Batch(inputs, {"y": torch.randint(5, (count, size))})

    return EpisodeBatch(part(support), part(query))


def by_higher(net: nn.Module, batch: EpisodeBatch, loss: Loss, steps: int) -> None:
    """The recipe of higher's documentation: one episode after the other."""
    import higher

    for e in range(len(batch)):
        inner = torch.optim.SGD(net.parameters(), lr=0.01)
        with higher.innerloop_ctx(net, inner, copy_initial_weights=False) as (fnet, rule):
            for _ in range(steps):
                rule.step(loss(fnet(batch.support.inputs[e]), batch.support.targets["y"][e]))
            value = loss(fnet(batch.query.inputs[e]), batch.query.targets["y"][e])
            (value / len(batch)).backward()
    net.zero_grad()


def by_hand(net: nn.Module, batch: EpisodeBatch, loss: Loss, steps: int) -> None:
    """A plain loop over episodes with `torch.func.functional_call`."""
    function = Functional(net)
    for e in range(len(batch)):
        theta = dict(net.named_parameters())
        for _ in range(steps):
            value = loss(function(theta, batch.support.inputs[e]), batch.support.targets["y"][e])
            grads = torch.autograd.grad(value, list(theta.values()), create_graph=True)
            theta = {n: t - 0.01 * g for (n, t), g in zip(theta.items(), grads, strict=True)}
        value = loss(function(theta, batch.query.inputs[e]), batch.query.targets["y"][e])
        (value / len(batch)).backward()
    net.zero_grad()


def by_moml(
    net: nn.Module, batch: EpisodeBatch, loss: Loss, steps: int, *, vmap: bool = False
) -> Callable[[], None]:
    """A step of the engine; ``vmap`` turns the batched products for linear layers off."""
    problem = FewShot(net, loss, target="y")
    if vmap:
        problem._many.products = False
    oracle = Bilevel(InnerSGD(0.01, steps=steps), Unrolled())

    def run() -> None:
        oracle(problem, batch).apply(torch.ones(1))
        problem.module.zero_grad()

    return run


def compiled(net: nn.Module, batch: EpisodeBatch, loss: Loss, steps: int) -> Callable[[], None]:
    """The compiled step, compiled before it is timed."""
    problem = FewShot(net, loss, target="y")
    oracle = Compiled(Bilevel(InnerSGD(0.01, steps=steps), Unrolled()))
    start = time.process_time()
    oracle(problem, batch)
    print(f"Compiling took {time.process_time() - start:.0f} CPU-s.\n")

    def run() -> None:
        oracle(problem, batch).apply(torch.ones(1))
        problem.module.zero_grad()

    return run


def meta(rounds: int) -> None:
    """Sinusoid and MLP."""
    for title, make, count, shape, sizes, loss, steps in (
        ("Sinusoid, 25 tasks, T = 5", sinusoid, 25, (1,), (10, 10), MeanSquaredError(), 5),
        ("Sinusoid, 16 tasks, T = 5", sinusoid, 16, (1,), (10, 10), MeanSquaredError(), 5),
        ("MLP 784-64-64-5, 16 tasks, T = 5", glyph_mlp, 16, (784,), (25, 75), CrossEntropy(5), 5),
    ):
        print(f"### {title}\n")
        net, batch = make(), episodes(count, shape, *sizes)
        contenders: dict[str, Callable[[], object]] = {
            "higher": partial(by_higher, net, batch, loss, steps),
            "plain loop": partial(by_hand, net, batch, loss, steps),
            "moml, vectorised": by_moml(net, batch, loss, steps, vmap=True),
            "moml": by_moml(net, batch, loss, steps),
        }
        if count == 16:
            contenders["moml, compiled"] = compiled(net, batch, loss, steps)
        compete(contenders, baseline="higher", rounds=rounds)


def conv(rounds: int) -> None:
    """Conv-4 with batch normalisation, which is not stacked."""
    print("### Conv-4 (32 filters), 4 tasks, T = 1 and 5\n")
    for steps in (1, 5):
        net, batch = conv4(), episodes(4, (1, 28, 28), 25, 75)
        contenders = {
            "plain loop": partial(by_hand, net, batch, CrossEntropy(5), steps),
            "moml": by_moml(net, batch, CrossEntropy(5), steps),
            "higher": partial(by_higher, net, batch, CrossEntropy(5), steps),
        }
        print(f"T = {steps}\n")
        compete(contenders, baseline="plain loop", rounds=max(3, rounds // 3), warm_up=1)


# Several objectives ----------------------------------------------------------------------------


class SampleWeights(BilevelProblem):
    """A weight per training sample is learnt for K validation sets; 4 810 lower variables."""

    def __init__(self, objectives: int, samples: int = 256) -> None:
        torch.manual_seed(0)
        self.net = nn.Sequential(nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 10))
        self.function = Functional(self.net)
        self.x, self.y = torch.randn(samples, 64), torch.randint(10, (samples,))
        self.queries = torch.randn(objectives, 64, 64)
        self.answers = torch.randint(10, (objectives, 64))
        self.upper = nn.ParameterDict({"weights": nn.Parameter(torch.zeros(samples))})

    @property
    def tasks(self) -> tuple[str, ...]:
        """One per validation set."""
        return tuple(f"v{k}" for k in range(len(self.queries)))

    @property
    def module(self) -> nn.Module:
        """The sample weights."""
        return self.upper

    def upper_parameters(self) -> dict[str, nn.Parameter]:
        """The sample weights."""
        return dict(self.upper.items())

    def lower_init(self, omega: Any, batch: Any, previous: Params | None) -> Params:
        """The same network every time."""
        return {name: p.detach() for name, p in self.net.named_parameters()}

    def lower_loss(self, theta: Params, omega: Any, batch: Any) -> Tensor:
        """Weighted cross-entropy."""
        losses = functional.cross_entropy(self.function(theta, self.x), self.y, reduction="none")
        return (omega["weights"].sigmoid() * losses).mean()

    def upper_losses(self, theta: Params, omega: Any, batch: Any) -> dict[str, Tensor]:
        """Cross-entropy on every validation set."""
        return {
            name: functional.cross_entropy(self.function(theta, x), y)
            for name, x, y in zip(self.tasks, self.queries, self.answers, strict=True)
        }


class OneOf(SampleWeights):
    """One of the objectives alone: what a library for a single objective computes."""

    only = 0

    def upper_losses(self, theta: Params, omega: Any, batch: Any) -> dict[str, Tensor]:
        """One validation set."""
        name = self.tasks[self.only]
        x, y = self.queries[self.only], self.answers[self.only]
        return {name: functional.cross_entropy(self.function(theta, x), y)}


def objectives(rounds: int) -> None:
    """All hypergradients of K objectives, against K runs."""
    for count, steps in ((3, 100), (8, 50)):
        print(f"### K = {count} objectives, T = {steps}\n")
        inner = InnerSGD(0.1, steps=steps)
        problem, single = SampleWeights(count), OneOf(count)
        together, bound = Bilevel(inner, Unrolled()), Bilevel(inner, Unrolled(), upper_bound=True)

        def separate(single: OneOf = single, inner: InnerSGD = inner, count: int = count) -> None:
            for single.only in range(count):
                _ = Bilevel(inner, Unrolled())(single, None).jacobian

        def upper_bound(bound: Bilevel = bound, problem: SampleWeights = problem) -> None:
            evaluation = bound(problem, None)
            _ = evaluation.gramian
            evaluation.pullback(torch.ones(len(problem.tasks)) / len(problem.tasks))

        contenders: dict[str, Callable[[], object]] = {
            "K separate runs": separate,
            "moml": lambda t=together, p=problem: t(p, None).jacobian,
            "moml, upper bound": upper_bound,
        }
        compete(contenders, baseline="K separate runs", rounds=max(5, rounds // 2))


# Memory ----------------------------------------------------------------------------------------

_REVERSE = {
    "Unrolled": Unrolled(),
    "Checkpointed": Checkpointed(),
    "Checkpointed(80)": Checkpointed(80),
}


def memory(rounds: int) -> None:
    """Peak of T = 400 unrolled and checkpointed, each in a process of its own."""
    print("### Checkpointed, T = 400, K = 1\n")
    peaks = {}
    for name in _REVERSE:
        command = [sys.executable, __file__, "--peak", name]
        out = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        peaks[name] = float(out)
        print(f"{name}: {peaks[name]:.1f} MiB above the process before")
    shares = (f"{name} {peak / peaks['Unrolled']:.2f}" for name, peak in peaks.items())
    print(f"\nMemory over Unrolled's: {', '.join(shares)}\n")
    problem, inner = SampleWeights(1), InnerSGD(0.1, steps=400)
    contenders: dict[str, Callable[[], object]] = {
        name: lambda m=method: Bilevel(inner, m)(problem, None).jacobian
        for name, method in _REVERSE.items()
    }
    compete(contenders, baseline="Unrolled", rounds=max(5, rounds // 2))


def peak(method: Hypergradient) -> float:
    """MiB above what the process held before the step."""
    problem = SampleWeights(1)
    _ = Bilevel(InnerSGD(0.1, steps=2), method)(problem, None).jacobian
    Path("/proc/self/clear_refs").write_text("5")  # Linux: the peak starts over
    before = _status("VmRSS")
    _ = Bilevel(InnerSGD(0.1, steps=400), method)(problem, None).jacobian
    return (_status("VmHWM") - before) / 1024


def _status(key: str) -> int:
    """A number of kB the kernel keeps about this process."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(key)).split()[1])


def main() -> None:
    """Run the sections asked for."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    sections = {"meta": meta, "conv": conv, "objectives": objectives, "memory": memory}
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--sections", nargs="+", choices=sections, default=list(sections))
    parser.add_argument("--trim", action="store_true", help="let the C library give memory back")
    parser.add_argument("--peak", choices=_REVERSE, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    warnings.filterwarnings("ignore", module="higher")
    if arguments.peak:
        print(peak(_REVERSE[arguments.peak]))
        return
    if not arguments.trim:
        keep_freed_memory()
    for name in arguments.sections:
        sections[name](arguments.rounds)


if __name__ == "__main__":
    main()
