"""Time per training step relative to the leanest possible equal weighting.

The baseline is plain PyTorch: one backward pass of the summed losses and one Adam step. Contenders
take turns, one step each, in one process on one thread; a ratio is the median over rounds of CPU
times of the same round. Run it on a quiet machine:

    python scripts/bench_step.py [--peers] [--settings mlp8 resnet8] [--rounds 30] [--all]
    python scripts/bench_step.py --draws --rounds 15
    python scripts/bench_step.py --rows --settings mlp8 mlp32 mlp32s linear32s transformer8

With ``--all`` every weighting takes part; MoDo and SDMGrad draw two further batches a step. With
``--rows`` the optimizer's step is left out on both sides, and MGDA's gradients are formed in every
way there is.
"""

from __future__ import annotations

import os

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_name] = "1"

import argparse
import inspect
import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median

import torch
from torch import Tensor, nn

import moml
from moml import weighting as room
from moml.training.further_batches import Draws, finite_losses
from moml.architecture import HPS
from moml.backbone import MLP, ResNet8
from moml.data import Batch, TaskInputs
from moml.data.stream import IterableStream
from moml.losses import CrossEntropy
from moml.optim import GradientStep
from moml.oracle import Direct, Oracle, Representation
from moml.gradients.rows import Strategy
from moml.weighting import (
    CAGrad, DWA, EW, GLS, MGDA, MoDo, NashMTL, PCGrad, RLW, SDMGrad, UPGrad, UW, Every, Weighting,
)  # fmt: skip

# LibMTL 4336804 and TorchJD 0.18.0 on the same networks, measured once on a similar machine against
# LibMTL's own equal weighting (LibMTL cannot be installed here): time per step over that of EW.
LIBMTL = {
    "mlp2": {"MGDA": 1.90, "PCGrad": 2.37, "CAGrad": 2.69, "NashMTL": 5.03, "UPGrad": 2.10},
    "mlp8": {"MGDA": 7.33, "PCGrad": 10.5, "CAGrad": 7.20, "NashMTL": 9.58, "UPGrad": 6.44},
    "mlp32": {"MGDA": 24.2, "PCGrad": 56.5, "CAGrad": 23.5, "NashMTL": 19.3, "UPGrad": 23.2},
    "resnet8": {"MGDA": 2.33, "PCGrad": 2.43, "CAGrad": 2.50, "NashMTL": 3.86, "UPGrad": 2.34},
    "multi8": {"MGDA": 6.94, "PCGrad": 7.04, "CAGrad": 5.64, "NashMTL": 6.82, "UPGrad": 6.02},
}


@dataclass(frozen=True)
class Setting:
    """A network and a batch."""

    encoder: Callable[[], nn.Module]
    head: Callable[[int], nn.Module]
    inputs: Callable[[], Tensor]
    tasks: int
    multi_input: bool = False

    def build(self) -> tuple[HPS, Batch]:
        """A fresh network, the same for every contender, and a batch."""
        torch.manual_seed(0)
        encoder = self.encoder()
        names = [f"t{i}" for i in range(self.tasks)]
        network = HPS(encoder, {name: self.head(encoder.out_features) for name in names})
        first = self.inputs()
        inputs: torch.Tensor | TaskInputs = first
        if self.multi_input:
            inputs = TaskInputs({name: self.inputs() for name in names})
        targets = {name: torch.randint(10, (len(first),)) for name in names}
        return network, Batch(inputs, targets)


def _mlp(
    tasks: int, *, multi_input: bool = False, batch: int = 128, linear: bool = False
) -> Setting:
    def head(width: int) -> nn.Module:
        deep = nn.Sequential(nn.Linear(width, 128), nn.ReLU(), nn.Linear(128, 10))
        return nn.Linear(width, 10) if linear else deep

    return Setting(
        lambda: MLP(256, hidden=(512, 512, 512)), head, lambda: torch.randn(batch, 256), tasks,
        multi_input,
    )  # fmt: skip


class Transformer(nn.Module):
    """Two small layers on 32 tokens, averaged."""

    out_features = 64

    def __init__(self) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(64, 4, 128, dropout=0.0, batch_first=True)
        self.layers = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)

    def forward(self, x: Tensor) -> Tensor:
        """``(B, 32, 64)`` to ``(B, 64)``."""
        return self.layers(x).mean(1)


def _transformer(tasks: int) -> Setting:
    return Setting(
        Transformer, lambda w: nn.Linear(w, 10), lambda: torch.randn(16, 32, 64), tasks
    )  # fmt: skip


SETTINGS = {
    "mlp2": _mlp(2),
    "mlp8": _mlp(8),
    "mlp32": _mlp(32),
    "resnet8": Setting(ResNet8, lambda w: nn.Linear(w, 10), lambda: torch.randn(32, 3, 32, 32), 3),
    "multi8": _mlp(8, multi_input=True),
}
TABLE = list(SETTINGS)  # of docs/benchmarks.md; the others are for --rows
SETTINGS |= {
    "mlp32s": _mlp(32, batch=32),
    "linear32s": _mlp(32, batch=32, linear=True),
    "transformer3": _transformer(3),
    "transformer8": _transformer(8),
}
METHODS: dict[str, Callable[[], Weighting]] = {
    "EW": EW, "RLW": RLW, "UW": UW, "DWA": lambda: DWA(window=10), "GLS": GLS, "MGDA": MGDA,
    "PCGrad": PCGrad, "CAGrad": CAGrad, "NashMTL": NashMTL, "UPGrad": UPGrad,
    "MGDA every 10": lambda: Every(MGDA(), n=10),
}  # fmt: skip


def every_weighting() -> dict[str, Callable[[], Weighting]]:
    """All concrete ones that need no arguments, with what `METHODS` has first."""
    found = dict(METHODS)
    for name in room.__all__:
        cls = getattr(room, name)
        if name in found or not inspect.isclass(cls) or inspect.isabstract(cls):
            continue
        if not issubclass(cls, Weighting):
            continue
        if ".wrappers." not in cls.__module__:
            found[name] = cls
    found["Scaled(CAGrad)"] = lambda: room.Scaled(CAGrad())
    found["CRMOGM(MGDA)"] = lambda: room.CRMOGM(MGDA())
    found["Grouped(MGDA)"] = lambda: room.Grouped(MGDA())
    found["STCH, warm-up"] = lambda: room.STCH(warmup=1)
    found["IMTL hybrid"] = lambda: room.IMTL(mode="hybrid")
    return found


def lean(setting: Setting, *, optimize: bool = True) -> Callable[[], None]:
    """Plain PyTorch: the leanest equal-weighting step."""
    network, batch = setting.build()
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-4)
    loss = nn.CrossEntropyLoss()

    def step() -> None:
        optimizer.zero_grad()
        predictions = network(batch.inputs)
        sum(loss(predictions[task], y) for task, y in batch.targets.items()).backward()
        if optimize:
            optimizer.step()

    return step


def ours(
    setting: Setting,
    make: Callable[[], Weighting],
    oracle: Oracle,
    *,
    optimize: bool = True,
    draws: bool = True,
) -> Callable[[], None]:
    """A step of `moml.fit`, without logging; without ``draws`` every batch is the step's own."""
    network, batch = setting.build()
    problem = moml.MultiTask(network, {task: CrossEntropy(10) for task in network.tasks})
    weighting = make()
    weighting.setup(problem.tasks)
    updater = GradientStep(torch.optim.Adam(network.parameters(), lr=1e-4))
    updater.adopt(weighting.parameters())

    def step() -> None:
        updater.zero_grad()
        evaluation = oracle(problem, batch)
        if draws:
            evaluation.source = Draws(problem, oracle, batch, IterableStream([batch]))
        finite_losses(evaluation)
        weighting.learn(evaluation.losses, tasks=evaluation.tasks)
        weights = weighting.update(evaluation)
        if optimize:
            updater.step(evaluation, weights)

    return step


def torchjd_step(setting: Setting, name: str) -> Callable[[], None]:
    """The same with TorchJD's multi-task backward."""
    from torchjd import aggregation
    from torchjd.autojac import jac_to_grad, mtl_backward

    network, batch = setting.build()
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-4)
    aggregator = getattr(aggregation, name)()
    loss = nn.CrossEntropyLoss()

    def step() -> None:
        optimizer.zero_grad()
        features = network.features(batch.inputs)
        predictions = network.decode(features)
        losses = [loss(predictions[task], y) for task, y in batch.targets.items()]
        mtl_backward(losses, features=list(features.values()))
        jac_to_grad(network.encoder.parameters(), aggregator)
        optimizer.step()

    return step


def measure(steps: dict[str, Callable[[], None]], rounds: int) -> dict[str, float]:
    """Median over rounds of each contender's CPU time over the first one's."""
    for step in steps.values():
        for _ in range(2):
            step()
    ratios: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(rounds):
        times = {}
        for name, step in steps.items():
            start = time.process_time()
            step()
            times[name] = time.process_time() - start
        base = next(iter(times.values()))
        for name, seconds in times.items():
            ratios[name].append(seconds / base)
    return {name: median(values) for name, values in ratios.items()}


def contenders(
    setting: Setting, *, peers: bool, methods: dict[str, Callable[[], Weighting]]
) -> dict[str, Callable[[], None]]:
    """The baseline first, then everything else."""
    steps = {"plain PyTorch": lean(setting), "plain PyTorch again": lean(setting)}
    steps |= {name: ours(setting, make, Direct()) for name, make in methods.items()}
    steps["MGDA, representation"] = ours(setting, MGDA, Representation())
    if peers and not setting.multi_input:
        steps |= {f"torchjd {n}": torchjd_step(setting, n) for n in ("MGDA", "UPGrad")}
    return steps


def ways(setting: Setting) -> dict[str, Callable[[], None]]:
    """Gradients alone: of the sum, and MGDA's by every way to form rows."""
    steps = {"plain PyTorch": lean(setting, optimize=False)}
    steps["plain PyTorch again"] = lean(setting, optimize=False)
    kinds: tuple[Strategy, ...] = ("auto", "ghost", "loop", "vmap", "layers")
    for rows in kinds:
        steps[f"MGDA, {rows}"] = ours(setting, MGDA, Direct(rows=rows), optimize=False)
    return steps


def drawing(setting: Setting, rounds: int) -> dict[str, float]:
    """Methods with three batches over themselves with one."""
    ratios = {}
    for method in (MoDo, SDMGrad):
        pair = {
            f"{method.__name__}, one batch": ours(setting, method, Direct(), draws=False),
            f"{method.__name__}, three batches": ours(setting, method, Direct()),
        }
        ratios |= measure(pair, rounds)
    return ratios


def main() -> None:
    """Measure and print one Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--settings", nargs="+", default=TABLE, choices=list(SETTINGS))
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--peers", action="store_true", help="TorchJD too, if it is installed")
    parser.add_argument("--all", action="store_true", help="every weighting there is")
    parser.add_argument("--rows", action="store_true", help="MGDA's gradients, in every way")
    parser.add_argument("--draws", action="store_true", help="three batches a step over one")
    options = parser.parse_args()
    torch.set_num_threads(1)
    methods = every_weighting() if options.all else METHODS
    table = {}
    for name in options.settings:
        setting = SETTINGS[name]
        if options.draws:
            table[name] = drawing(setting, options.rounds)
        elif options.rows:
            table[name] = measure(ways(setting), options.rounds)
        else:
            steps = contenders(setting, peers=options.peers, methods=methods)
            table[name] = measure(steps, options.rounds)
    rows = list(dict.fromkeys(row for column in table.values() for row in column))
    print("| step | " + " | ".join(table) + " |\n|---|" + "---|" * len(table))
    for row in rows:
        cells = [f"{column[row]:.2f}" if row in column else "–" for column in table.values()]
        print(f"| {row} | " + " | ".join(cells) + " |")
    for method in (
        LIBMTL["mlp8"] if set(table) <= set(LIBMTL) and not (options.rows or options.draws) else ()
    ):
        cells = [f"{LIBMTL[name][method]:.2f}" for name in table]
        print(f"| LibMTL {method} (its own ratio) | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
