"""Time of a supernet's forward and backward pass by executor, on one thread.

    python scripts/bench_supernet.py            # the table of docs/benchmarks.md
    python scripts/bench_supernet.py --sizes 8  # the small images alone

All executors of a row run in turn in one process; a number is the least CPU time of several turns,
and the ratio to the reference (every operation of every edge one after another, usual layout).
"""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
import argparse
import time

import torch
from torch.nn import functional

from moml.nas import BatchedCell, MergedCell, MixedCell, PartialCell, SuperNet
from search_spaces import DARTS, LinearCells, NBDigits

BATCH = 32


def cases(sizes):
    """Rows: a name, a space, and executors with their layout; the first is the reference."""
    for size in sizes:
        yield (
            f"DARTS, 8 channels, 4 cells, {size}×{size}",
            DARTS(channels=8, layers=4, image=(1, size, size)),
            {
                "reference": (MixedCell, False),
                "channels last": (MixedCell, True),
                "batched, channels last": (BatchedCell, True),
                "partial channels, channels last": (PartialCell, True),
                "one path, channels last": (MixedCell, True),
            },
        )
    yield (
        "NBDigits, 8×8",
        NBDigits(),
        {"reference": (MixedCell, False), "batched, channels last": (BatchedCell, True)},
    )
    for size in sizes:
        yield (
            f"LinearCells, {size}×{size}",
            LinearCells(image=(1, size, size)),
            {"reference": (MixedCell, False), "merged kernels, channels last": (MergedCell, True)},
        )


def mixture(space, *, path):
    """Weights of all operations alike, or of one path."""
    if path:
        genotype = space.sample(torch.Generator().manual_seed(0))
        return SuperNet(space, executor=MixedCell, seed=0).path(genotype)
    return {
        name: torch.full((len(cell.edges), len(cell.ops)), 1 / len(cell.ops))
        for name, cell in space.spec.cells
    }


def step(net, weights, x, y):
    """CPU seconds of one pass forwards and backwards, to weights and mixture."""
    weights = {name: w.clone().requires_grad_() for name, w in weights.items()}
    net.zero_grad()
    started = time.process_time()
    functional.cross_entropy(net(x, weights), y).backward()
    return time.process_time() - started


def main():
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[8, 32], help="Pixels of a side.")
    parser.add_argument("--turns", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    print("| network, batch of 32 | executor | ms | ratio |\n|---|---|---:|---:|")
    for title, space, executors in cases(options.sizes):
        x, y = torch.rand(BATCH, *space.image), torch.randint(space.num_classes, (BATCH,))
        nets = {
            name: SuperNet(space, executor=executor, channels_last=layout, seed=0)
            for name, (executor, layout) in executors.items()
        }
        weights = {name: mixture(space, path=name.startswith("one path")) for name in nets}
        times = {name: [] for name in nets}
        for turn in range(options.turns + 1):
            for name, net in nets.items():
                seconds = step(net, weights[name], x, y)
                if turn:
                    times[name].append(seconds)
        best = {name: min(found) for name, found in times.items()}
        for name, seconds in best.items():
            ratio = seconds / best["reference"]
            print(f"| {title} | {name} | {1e3 * seconds:.1f} | {ratio:.2f} |", flush=True)


if __name__ == "__main__":
    main()
