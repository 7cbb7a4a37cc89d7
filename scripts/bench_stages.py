"""Time of encoders cut into stages over that of the encoders themselves: a forward and a backward.

    python scripts/bench_stages.py
    python scripts/bench_stages.py MessagePassing --rounds 200

Paired in one process on one thread, CPU time: the median of the ratios of single passes, taken in
turns, and their quartiles; beside it the encoder against itself, which tells the machine's noise.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(name, "1")
sys.path.insert(0, str(Path(__file__).parent.parent))

import numpy as np
import torch

from moml.architecture import Stages
from moml.backbone import DenseEncoder, MessagePassing, ResNet8, SmallCNN

CASES = {
    "SmallCNN": (SmallCNN, (64, 1, 10, 10)),
    "ResNet8": (ResNet8, (16, 3, 32, 32)),
    "MessagePassing": (MessagePassing, (64, 7, 7)),
    "DenseEncoder": (DenseEncoder, (2, 3, 64, 96)),
}


def main() -> None:
    """Print a line per encoder."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("encoders", nargs="*", default=list(CASES), help=", ".join(CASES))
    parser.add_argument("--rounds", type=int, default=300)
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    for label in options.encoders:
        make, shape = CASES[label]
        encoder = make()
        stages = Stages.of(encoder)
        inputs = (torch.rand(shape) > 0.5).float()
        for module in (encoder, stages) * 5:
            _spent(module, inputs)
        turns = (_turn((stages, encoder, encoder), inputs, k) for k in range(options.rounds))
        times = np.array(list(turns))  # (rounds, 3)
        found = []
        for column in (0, 2):
            ratios = times[:, column] / times[:, 1]
            low, middle, high = np.percentile(ratios, [25, 50, 75])
            found.append(f"{middle:.3f} [{low:.3f}, {high:.3f}]")
        print(f"{label:15s} {len(stages)} stages  {found[0]}  itself {found[1]}", flush=True)


def _turn(modules: Sequence[torch.nn.Module], inputs: torch.Tensor, number: int) -> list[int]:
    """Nanoseconds of each; every other turn goes backwards."""
    if number % 2:
        return [_spent(module, inputs) for module in reversed(modules)][::-1]
    return [_spent(module, inputs) for module in modules]


def _spent(module: torch.nn.Module, inputs: torch.Tensor) -> int:
    start = time.process_time_ns()
    module(inputs).sum().backward()
    return time.process_time_ns() - start


if __name__ == "__main__":
    main()
