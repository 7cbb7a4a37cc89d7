"""Time and strength of the attacks against a loop by hand and other libraries, as Markdown tables.

    python scripts/bench_attack.py [--rounds 30] [--samples 200] [--skip-worst-case]

One thread, CPU time. Victims are small networks with batch normalisation on scikit-learn's digits,
enlarged to 28 pixels, one plainly and the others adversarially trained. Rounds of all methods are
interleaved, and ratios are medians over the rounds. foolbox and pyautoattack are compared where
they are installed (``pip install foolbox pyautoattack``; neither brings another PyTorch).
"""

from __future__ import annotations

import os

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[variable] = "1"  # before numpy is imported

import argparse
import statistics
import sys
import time
import warnings
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn import functional

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from moml.attack import (
    APGD,
    L1,
    L2,
    PGD,
    Attack,
    Ball,
    Linf,
    Victim,
    cross_entropy,
    each_target,
    misclassified,
    worst_case,
)

EPS, SIZE, STEPS, BATCH = 0.1, 0.025, 10, 64


def digits(classes: int = 10, seed: int = 0) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Images ``(N, 1, 28, 28)`` and labels for training and testing; 0 is the reported split."""
    bunch = load_digits()
    images = torch.tensor(bunch.images, dtype=torch.float32)[:, None] / 16
    images = functional.interpolate(images, size=(28, 28), mode="bilinear")
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(seed))
    images, labels = images[order], torch.tensor(bunch.target)[order] % classes
    return images[:1257], labels[:1257], images[1257:], labels[1257:]


def trained(
    ball: Ball | None, *, width: int = 16, classes: int = 10, epochs: int = 10, seed: int = 0
) -> nn.Module:
    """A network, trained on attacked images if there is a ball."""
    torch.manual_seed(seed)
    x, labels, _, _ = digits(classes, seed)
    model = nn.Sequential(
        nn.Conv2d(1, width, 3, stride=2, padding=1),
        nn.BatchNorm2d(width),
        nn.ReLU(),
        nn.Conv2d(width, 2 * width, 3, stride=2, padding=1),
        nn.BatchNorm2d(2 * width),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(2 * width * 49, classes),
    )
    optimizer = torch.optim.Adam(model.parameters(), 2e-3)
    for rows in (r for _ in range(epochs) for r in torch.randperm(len(x)).split(BATCH)):
        inputs = x[rows]
        if ball is not None:
            goal = Victim(model).objective(labels[rows], loss=cross_entropy)
            inputs = PGD(ball, steps=7).perturb(goal, inputs)
        optimizer.zero_grad()
        functional.cross_entropy(model(inputs), labels[rows]).backward()
        optimizer.step()
    return model.eval()


def by_hand(model: nn.Module, x: Tensor, labels: Tensor) -> Tensor:
    """PGD as lean as it gets."""
    x_adv = (x + (2 * torch.rand_like(x) - 1) * EPS).clamp(0, 1)
    for _ in range(STEPS):
        x_adv.requires_grad_()
        loss = functional.cross_entropy(model(x_adv), labels)
        (gradient,) = torch.autograd.grad(loss, x_adv)
        x_adv = x_adv.detach() + SIZE * gradient.sign()
        x_adv = (x + (x_adv - x).clamp(-EPS, EPS)).clamp(0, 1)
    return x_adv


def ours(model: nn.Module, *, stop: bool, goal: bool = True) -> Callable[[Tensor, Tensor], Tensor]:
    """PGD of this library."""
    attack = PGD(Linf(EPS), steps=STEPS, step_size=SIZE, early_stop=stop)
    success = misclassified if goal else None

    def run(x: Tensor, labels: Tensor) -> Tensor:
        objective = Victim(model).objective(labels, loss=cross_entropy, success=success)
        return attack.perturb(objective, x)

    return run


def foolbox_run(model: nn.Module) -> Callable[[Tensor, Tensor], Tensor]:
    """PGD of foolbox, with what it does around it."""
    import foolbox

    wrapped = foolbox.PyTorchModel(model, bounds=(0, 1))
    attack = foolbox.attacks.LinfPGD(abs_stepsize=SIZE, steps=STEPS)
    return lambda x, labels: attack(wrapped, x, labels, epsilons=EPS)[1]


def pgd_times(models: dict[str, nn.Module], rounds: int) -> None:
    """Cost relative to the loop by hand, and what is left of the accuracy."""
    print(f"\n## PGD-{STEPS}, Linf {EPS}, batch {BATCH}: CPU time over that of a loop by hand\n")
    print("| victim | method | time | ms | robust accuracy |\n| --- | --- | --- | --- | --- |")
    _, _, x, labels = digits()
    for name, model in models.items():
        methods = {
            "loop by hand": lambda x, labels, model=model: by_hand(model, x, labels),
            "moml, no goal": ours(model, stop=False, goal=False),
            "moml, no early stop": ours(model, stop=False),
            "moml": ours(model, stop=True),
        }
        if find_spec("foolbox"):
            methods["foolbox"] = foolbox_run(model)
        times: dict[str, list[float]] = {method: [] for method in methods}
        for i in range(rounds + 3):
            start = (i * BATCH) % (len(x) - BATCH)
            part = slice(start, start + BATCH)
            for method in rotated(list(methods), i):  # nobody always follows the same one
                began = time.process_time()
                methods[method](x[part], labels[part])
                times[method].append(time.process_time() - began)
        for method, run in methods.items():
            ratios = [a / b for a, b in zip(times[method], times["loop by hand"], strict=True)][3:]
            right = (model(run(x, labels)).argmax(1) == labels).double().mean()
            print(
                f"| {name} | {method} | {statistics.median(ratios):.2f} "
                f"| {1e3 * statistics.median(times[method][3:]):.1f} | {float(right):.4f} |",
                flush=True,
            )


def rotated(names: list[str], by: int) -> list[str]:
    """The same names from another one on."""
    by %= len(names)
    return names[by:] + names[:by]


def strongest(attack: Attack, victim: Victim, targets: int, x: Tensor, labels: Tensor) -> Tensor:
    """APGD-CE, then APGD-T on what is left."""
    goal = victim.objective(labels, loss=cross_entropy, success=misclassified)
    towards = each_target(victim, labels, x, num_targets=targets)
    return worst_case([(attack, goal), *((attack, target) for target in towards)], x)


def worst_cases(models: dict[str, tuple[nn.Module, Ball, int]], samples: int) -> None:
    """Robust accuracy and CPU time beside AutoAttack's standard ensemble."""
    from pyautoattack import AutoAttack

    print(
        f"\n## Worst case over APGD-CE and APGD-T, {samples} digits, beside AutoAttack standard\n"
    )
    print("| victim | ball | method | robust accuracy | seconds |\n| --- | --- | --- | --- | --- |")
    for name, (model, ball, classes) in models.items():
        x, labels = (part[:samples] for part in digits(classes)[2:])

        def peer(x: Tensor, labels: Tensor, model: nn.Module = model, ball: Ball = ball) -> Tensor:
            attack = AutoAttack(
                model, norm=type(ball).__name__, eps=ball.eps, seed=0, version="standard"
            )
            return attack.run_standard_evaluation(x, labels, batch_size=len(x))[0]

        methods: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
            f"moml, {steps} steps, {targets} targets": partial(
                strongest, APGD(ball, steps=steps), Victim(model), targets
            )
            for steps, targets in ((30, 4), (50, 4), (100, 9))
        }
        for method, run in {**methods, "AutoAttack standard": peer}.items():
            began = time.process_time()
            try:
                x_adv = run(x, labels)
            except Exception as error:  # it does not know tasks of few classes
                print(f"| {name} | {ball} | {method} | {type(error).__name__} | |", flush=True)
                continue
            seconds = time.process_time() - began
            right = (model(x_adv).argmax(1) == labels).double().mean()
            print(
                f"| {name} | {ball} | {method} | {float(right):.4f} | {seconds:.1f} |", flush=True
            )


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--samples", type=int, default=200)
    parser.add_argument("--skip-worst-case", action="store_true")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    plain, robust = trained(None), trained(Linf(EPS))
    pgd_times({"plain": plain, "robust": robust}, options.rounds)
    if not options.skip_worst_case and find_spec("pyautoattack"):
        victims = {
            "plain": (plain, Linf(0.03), 10),
            "robust": (robust, Linf(EPS), 10),
            "robust, L2": (robust, L2(1.0), 10),
            "robust, L1": (robust, L1(8.0), 10),
            "robust, narrow": (trained(Linf(EPS), width=6), Linf(EPS), 10),
            "robust, 3 classes": (trained(Linf(EPS), classes=3), Linf(EPS), 3),
            "robust, 2 classes": (trained(Linf(EPS), classes=2), Linf(EPS), 2),
        }
        worst_cases(victims, options.samples)


if __name__ == "__main__":
    main()
