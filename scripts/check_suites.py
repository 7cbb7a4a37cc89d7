"""Train the suite's default networks with equal weights, and print its test metrics.

Hard parameter sharing, Adam, checkpoint selected on the validation split: what the numbers in a
suite's documentation are measured with.

    python scripts/check_suites.py --suite Rooms --steps 1000 --seed 0
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import tasks
from moml.architecture import HPS
from moml.data import Suite
from moml.loop import fit
from moml.multitask import MultiTask
from moml.oracle import Direct
from moml.validation import Validation, evaluate
from moml.weighting import EW


def train(suite: Suite, *, steps: int, learning_rate: float, seed: int) -> HPS:
    """The network at the step that does best on the validation split."""
    torch.manual_seed(seed)
    encoder = suite.encoder()
    network = HPS(encoder, suite.heads(encoder.out_features))
    problem = MultiTask(network, {task: spec.loss for task, spec in suite.tasks.items()})
    optimizer = torch.optim.Adam(
        network.parameters(), lr=learning_rate, weight_decay=suite.defaults.weight_decay
    )
    with tempfile.TemporaryDirectory() as folder:
        validation = Validation(
            network,
            suite.tasks,
            suite.loader("val"),
            best=Path(folder) / "best.pt",
            every=suite.defaults.eval_every,
        )
        batches = suite.loader("train", seed=seed)
        fit(problem, Direct(), EW(), optimizer, batches, steps=steps, callbacks=[validation])
        validation.load_best()
    return network


def main() -> None:
    """Parse, train, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--suite", choices=tasks.__all__, required=True)
    parser.add_argument("--steps", type=int, help="the suite's default if not given")
    parser.add_argument("--learning_rate", type=float, help="the suite's default if not given")
    parser.add_argument("--seed", type=int, default=0, help="of the network and the batches")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    suite: Suite = getattr(tasks, arguments.suite)()
    start = time.process_time()
    for split in ("train", "val", "test"):
        suite.sources(split)
    made = time.process_time()
    steps = arguments.steps or suite.defaults.steps
    rate = arguments.learning_rate or suite.defaults.learning_rate
    network = train(suite, steps=steps, learning_rate=rate, seed=arguments.seed)
    trained = time.process_time()
    for task, row in evaluate(network, suite.tasks, suite.loader("test")).metrics.items():
        print(f"{task:24}" + "  ".join(f"{name} {value:.4f}" for name, value in row.items()))
    print(
        f"{steps} steps at {rate:g}: {trained - made:.0f} CPU-s to train, "
        f"{made - start:.1f} CPU-s to make the data"
    )


if __name__ == "__main__":
    main()
