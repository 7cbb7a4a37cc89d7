"""Where two defaults of the attacks come from, on networks and digits that nothing is reported on.

    python scripts/attack_defaults.py

The scale of `standardized` and the share of entries that a step in the L1 ball moves are chosen
here: robust networks of three seeds, each with a split of its own, attacked on their test digits.
What is reported (``bench_attack.py``) is about seed 0. Numbers are robust accuracies in percent.
"""

from __future__ import annotations

import bench_attack as bench
import torch
from torch import Tensor

from moml.attack import L1, PGD, Attack, Linf, Victim, cross_entropy, misclassified, standardized
from moml.attack.objectives import Compare

SEEDS, SAMPLES = (1, 2, 3), 300
SCALES = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0)
SHARES = (0.0025, 0.005, 0.01, 0.02, 0.05, 0.1)


def main() -> None:
    """Print both tables."""
    torch.set_num_threads(1)
    print("| seed | cross-entropy | " + " | ".join(f"scale {s:g}" for s in SCALES) + " |")
    print("| --- |" + " --- |" * (len(SCALES) + 1))
    found = []
    for seed in SEEDS:
        model = bench.trained(Linf(bench.EPS), seed=seed)
        x, labels = (part[:SAMPLES] for part in bench.digits(seed=seed)[2:])
        found.append((model, x, labels))
        attack = PGD(Linf(bench.EPS), steps=20)
        losses = [cross_entropy, *(standardized(cross_entropy, scale=s) for s in SCALES)]
        row(str(seed), [left(model, attack, loss, x, labels) for loss in losses])
    print("\n| seed, L1 radius | " + " | ".join(f"share {s:g}" for s in SHARES) + " |")
    print("| --- |" + " --- |" * len(SHARES))
    for seed, (model, x, labels) in zip(SEEDS, found, strict=True):
        for eps in (5.0, 10.0):
            attacks = [PGD(L1(eps, share=share), steps=50) for share in SHARES]
            row(f"{seed}, {eps:g}", [left(model, a, cross_entropy, x, labels) for a in attacks])


def left(model: torch.nn.Module, attack: Attack, loss: Compare, x: Tensor, labels: Tensor) -> float:
    """Robust accuracy in percent."""
    goal = Victim(model).objective(labels, loss=loss, success=misclassified)
    return 100 * (1 - float(goal.reached(attack.perturb(goal, x)).double().mean()))


def row(name: str, values: list[float]) -> None:
    """A line of a table."""
    print(f"| {name} | " + " | ".join(f"{value:.1f}" for value in values) + " |", flush=True)


if __name__ == "__main__":
    main()
