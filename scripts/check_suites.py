"""Train a shared encoder with one head a task on an embedded suite, and print its test metrics.

The plainest multi-task training there is (Adam on the sum of the losses), without moml's loop or
weightings: a check of the suite, and of the numbers its documentation quotes.

    python scripts/check_suites.py --suite Rooms --steps 1000 --seed 0
"""

from __future__ import annotations

import argparse
import copy
import math
import time
from collections.abc import Mapping

import torch
from torch import nn

import tasks
from moml.data import BatchLoader, Suite


class SharedEncoder(nn.Module):
    """The suite's own encoder and heads."""

    def __init__(self, suite: Suite) -> None:
        super().__init__()
        self.encoder = suite.encoder()
        self.heads = nn.ModuleDict(suite.heads(self.encoder.out_features))

    def forward(self, inputs: torch.Tensor | Mapping[str, torch.Tensor]) -> dict:
        """Predictions per task."""
        if isinstance(inputs, Mapping):
            return {task: head(self.encoder(inputs[task])) for task, head in self.heads.items()}
        features = self.encoder(inputs)
        return {task: head(features) for task, head in self.heads.items()}


def evaluate(model: nn.Module, suite: Suite, batches: BatchLoader) -> dict[str, dict[str, float]]:
    """All metrics of all tasks."""
    metrics = {task: spec.metrics() for task, spec in suite.tasks.items()}
    model.eval()
    with torch.no_grad():
        for batch in batches:
            for task, prediction in model(batch.inputs).items():
                for metric in metrics[task].values():
                    metric.update(*batch.labelled(task, prediction))
    model.train()
    return {task: {k: float(m.compute()) for k, m in row.items()} for task, row in metrics.items()}


def score(suite: Suite, results: dict[str, dict[str, float]]) -> float:
    """Sum over tasks of the main metric, errors as minus their logarithm."""
    total = 0.0
    for task, spec in suite.tasks.items():
        value, metric = results[task][spec.main], spec.metrics()[spec.main]
        total += value if metric.higher_is_better else -math.log(value)
    return total


def train(suite: Suite, *, steps: int, learning_rate: float, seed: int) -> nn.Module:
    """The model of the checkpoint that does best on the validation split."""
    torch.manual_seed(seed)
    model = SharedEncoder(suite)
    optimizer = torch.optim.Adam(model.parameters(), learning_rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    batches, validation = suite.loader("train", seed=seed), suite.loader("val")
    best, best_state = -math.inf, model.state_dict()
    for step in range(steps):
        batch = batches.batch(step)
        predictions = model(batch.inputs)
        losses = [
            spec.loss(*batch.labelled(task, predictions[task]))
            for task, spec in suite.tasks.items()
            if batch.has_labels(task)
        ]
        optimizer.zero_grad()
        torch.stack(losses).sum().backward()
        optimizer.step()
        schedule.step()
        if (step + 1) % suite.defaults.eval_every == 0 or step + 1 == steps:
            found = score(suite, evaluate(model, suite, validation))
            if found > best:
                best, best_state = found, copy.deepcopy(model.state_dict())
    model.load_state_dict(best_state)
    return model


def main() -> None:
    """Parse, train, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--suite", choices=tasks.__all__, required=True)
    parser.add_argument("--steps", type=int, help="the suite's default if not given")
    parser.add_argument("--lr", type=float, help="the suite's default if not given")
    parser.add_argument("--seed", type=int, default=0, help="of the network and the batches")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    suite: Suite = getattr(tasks, arguments.suite)()
    start = time.process_time()
    suite.sources("train"), suite.sources("val"), suite.sources("test")
    data = time.process_time() - start
    steps, rate = arguments.steps or suite.defaults.steps, arguments.lr
    rate = rate or suite.defaults.learning_rate
    model = train(suite, steps=steps, learning_rate=rate, seed=arguments.seed)
    seconds = time.process_time() - start - data
    for task, row in evaluate(model, suite, suite.loader("test")).items():
        print(f"{task:24}" + "  ".join(f"{name} {value:.4f}" for name, value in row.items()))
    print(f"{steps} steps, {seconds:.0f} CPU-s to train, {data:.1f} CPU-s to make the data")


if __name__ == "__main__":
    main()
