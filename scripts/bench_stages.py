"""Time of encoders cut into stages over that of the encoders themselves: a forward and a backward.

    python scripts/bench_stages.py
    python scripts/bench_stages.py MessagePassing --rounds 200

Paired in one process on one thread, CPU time, the least of five each; the median of the ratios and
their quartiles, beside those of the encoder against itself: what the machine's noise is.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
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
    parser.add_argument("--rounds", type=int, default=60)
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    for label in options.encoders:
        make, shape = CASES[label]
        encoder = make()
        stages = Stages.of(encoder)
        inputs = (torch.rand(shape) > 0.5).float()
        found = []
        for module in (stages, encoder):
            turns = range(options.rounds)
            ratios = [_ratio(module, encoder, inputs, first=k % 2 == 0) for k in turns]
            low, middle, high = np.percentile(ratios, [25, 50, 75])
            found.append(f"{middle:.3f} [{low:.3f}, {high:.3f}]")
        print(f"{label:15s} {len(stages)} stages  {found[0]}  itself {found[1]}", flush=True)


def _ratio(
    stages: torch.nn.Module, encoder: torch.nn.Module, inputs: torch.Tensor, *, first: bool
) -> float:
    """The least of five each, taken in turns; who begins alternates."""
    pair = (stages, encoder) if first else (encoder, stages)
    times = [[_spent(module, inputs) for module in pair] for _ in range(5)]
    a, b = map(min, zip(*times, strict=True))
    return a / b if first else b / a


def _spent(module: torch.nn.Module, inputs: torch.Tensor) -> int:
    start = time.process_time_ns()
    module(inputs).sum().backward()
    return time.process_time_ns() - start


if __name__ == "__main__":
    main()
