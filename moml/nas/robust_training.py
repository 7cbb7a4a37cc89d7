"""Training one network of a space from scratch, on clean or perturbed samples, and judging it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import Parameter
from torch.optim.lr_scheduler import LambdaLR, OneCycleLR

from moml.architecture import Architecture
from moml.attack import (
    FGSM,
    PGD,
    Attack,
    Ball,
    Bounds,
    Victim,
    check_bounds,
    cross_entropy,
    inside,
    misclassified,
)
from moml.data import Batch, Suite
from moml.data.inputs import Inputs, TaskInputs
from moml.data.stream import LoaderStream
from moml.data.suite import Split
from moml.loop import History, fit
from moml.losses import Loss
from moml.nas.training_extras import Extras
from moml.optim import GradientStep
from moml.oracle import Direct
from moml.problem import Losses, Problem
from moml.training.callback import Callback
from moml.training.checkpoint import Checkpoint
from moml.weighting import EW

Schedule = Literal["one_cycle", "cosine"]
OVERSHOOT = 1.25  # length of the one step of training, in radii


class Classifier(Architecture):
    """A network of logits as an architecture of one task.

    Args:
        network: From images to logits.
        task: Name of the task.
    """

    def __init__(self, network: nn.Module, task: str) -> None:
        super().__init__()
        self.network, self.tasks = network, (task,)

    def features(self, inputs: Inputs, tasks: Sequence[str] | None = None) -> dict[str, Tensor]:
        """The logits."""
        x = inputs[self.tasks[0]] if isinstance(inputs, TaskInputs) else inputs
        return {"shared": self.network(x)}

    def decode(
        self, features: dict[str, Tensor], tasks: Sequence[str] | None = None
    ) -> dict[str, Tensor]:
        """The same by name."""
        return {self.tasks[0]: features["shared"]}

    def private_modules(self, task: str) -> Iterable[nn.Module]:
        """All of it."""
        return [self.network]


class RobustTraining(Problem):
    """The loss of a classifier at samples perturbed by one step from a random start.

    Wong, Rice & Kolter, `Fast is better than free: Revisiting adversarial training
    <https://arxiv.org/abs/2001.03994>`_, ICLR 2020. The random start of a step depends on the
    seed and the step's number alone, which is stored with the network; so do those of cutout and
    drop path.

    Args:
        classifier: The network.
        loss: Of logits and labels.
        ball: Where perturbations lie; ``None`` for clean training.
        bounds: Smallest and largest value of the data.
        seed: Seed of the random starts.
        extras: What goes beyond the loss of the samples.
    """

    def __init__(
        self,
        classifier: Classifier,
        loss: Loss,
        *,
        ball: Ball | None,
        bounds: Bounds | None,
        seed: int = 0,
        extras: Extras | None = None,
    ) -> None:
        self.classifier, self.loss, self.ball, self.bounds = classifier, loss, ball, bounds
        self.seed, self.extras = seed, extras
        self._module = _Counted(classifier, None if extras is None else extras.head)

    @property
    def tasks(self) -> tuple[str, ...]:
        """The one task."""
        return self.classifier.tasks

    @property
    def module(self) -> nn.Module:
        """The network, its auxiliary head, and the number of steps done."""
        return self._module

    def shared_parameters(self) -> Iterable[Parameter]:
        """All parameters."""
        return self._module.parameters()

    def private_parameters(self, task: str) -> Iterable[Parameter]:
        """None."""
        return ()

    def losses(self, batch: Batch) -> Losses:
        """The loss at perturbed samples."""
        (task,) = self.tasks
        x = batch.inputs_of(task)
        labels = batch.targets[task]
        if self.extras is not None:
            x = self.extras.begin(x, int(self._module.step), self.seed)
        if self.ball is not None and self.ball.eps > 0:
            x = self._perturbed(x, labels, self.ball)
        self._module.step += 1
        if self.extras is None:
            return {task: self.loss(self.classifier.network(x), labels)}
        return {task: self.extras.loss(self.loss, self.classifier.network, x, labels)}

    def _perturbed(self, x: Tensor, labels: Tensor, ball: Ball) -> Tensor:
        """By the network as it is, in training mode."""
        check_bounds(x, self.bounds)
        generator = torch.Generator().manual_seed(
            1_000_003 * (self.seed + 1) + int(self._module.step)
        )
        start = inside(x + ball.sample(x, generator), x, ball=ball, bounds=self.bounds)
        start.requires_grad_()
        with torch.enable_grad():
            loss = self.loss(self.classifier.network(start), labels)
        (gradient,) = torch.autograd.grad(loss, start)
        moved = start.detach().add(ball.steepest(gradient), alpha=OVERSHOOT * ball.eps)
        return inside(moved, x, ball=ball, bounds=self.bounds)


class _Counted(nn.Module):
    step: Tensor

    def __init__(self, classifier: Classifier, head: nn.Module | None) -> None:
        super().__init__()
        self.classifier = classifier
        self.head = head
        self.register_buffer("step", torch.zeros((), dtype=torch.long))


@dataclass(frozen=True)
class Recipe:
    """How networks are trained, after a search or on their own.

    Attributes:
        epochs: Passes over the training data.
        batch_size: Samples per step.
        learning_rate: Largest rate of SGD with Nesterov's momentum 0.9 and weight decay 5e-4.
        ball: Perturbations of training samples; ``None`` for clean training.
        bounds: Smallest and largest value of the data.
        seed: Seed of initialisation, data order and random starts.
        schedule: Whether the rate rises and falls once, or falls along a half cosine.
        warmup: Epochs in which the rate of ``"cosine"`` rises linearly before.
        auxiliary_weight: Weight of the loss of an auxiliary head; 0 for none.
        drop_path: Probability of leaving out an edge in the last epoch; it rises from 0.
        cutout: Side of the square erased from every image; 0 for none.

    Raises:
        ValueError: If a number is out of its range, or warm-up is asked for with ``"one_cycle"``.
    """

    epochs: int = 10
    batch_size: int = 128
    learning_rate: float = 0.1
    ball: Ball | None = None
    bounds: Bounds | None = (0.0, 1.0)
    seed: int = 0
    schedule: Schedule = "one_cycle"
    warmup: int = 0
    auxiliary_weight: float = 0.0
    drop_path: float = 0.0
    cutout: int = 0

    def __post_init__(self) -> None:
        if self.auxiliary_weight < 0 or self.cutout < 0:
            raise ValueError(
                "`auxiliary_weight` and `cutout` should be at least 0, "
                f"found {self.auxiliary_weight} and {self.cutout}."
            )
        if not 0.0 <= self.drop_path < 1.0:
            raise ValueError(
                f"`drop_path` should be at least 0 and less than 1, found {self.drop_path}."
            )
        if not 0 <= self.warmup < self.epochs or (self.warmup and self.schedule != "cosine"):
            raise ValueError(
                f"`warmup` should be at least 0 and less than `epochs` ({self.epochs}), and 0 "
                f"unless `schedule` is 'cosine', found {self.warmup} with '{self.schedule}'."
            )

    def stream(self, suite: Suite, device: torch.device | str = "cpu") -> LoaderStream:
        """Batches of the training split."""
        loader = suite.loader("train", batch_size=self.batch_size, seed=self.seed)
        return LoaderStream(loader, device=device)

    def steps(self, suite: Suite) -> int:
        """Number of optimizer steps."""
        loader = suite.loader("train", batch_size=self.batch_size, seed=self.seed)
        return self.epochs * loader.batches_per_epoch

    def train(
        self,
        network: nn.Module,
        suite: Suite,
        task: str,
        *,
        device: torch.device | str = "cpu",
        callbacks: Sequence[Callback] = (),
        checkpoint: Checkpoint | None = None,
    ) -> History:
        """Train a network as it is, on the device where it is."""
        problem, steps = self.problem(network, suite, task), self.steps(suite)
        return fit(
            problem, Direct(), EW(), self.updater(problem, steps), self.stream(suite, device),
            steps=steps, callbacks=callbacks, checkpoint=checkpoint,
        )  # fmt: skip

    def problem(self, network: nn.Module, suite: Suite, task: str) -> RobustTraining:
        """What is minimised."""
        plain = self.auxiliary_weight == self.drop_path == self.cutout == 0
        return RobustTraining(
            Classifier(network, task),
            suite.tasks[task].loss,
            ball=self.ball,
            bounds=self.bounds,
            seed=self.seed,
            extras=None if plain else self._extras(network, suite),
        )

    def _extras(self, network: nn.Module, suite: Suite) -> Extras:
        batch = next(iter(suite.loader("train", batch_size=2, seed=self.seed)))
        x = (
            batch.inputs[next(iter(batch.inputs))]
            if isinstance(batch.inputs, dict)
            else batch.inputs
        )
        return Extras(
            network,
            x,
            auxiliary_weight=self.auxiliary_weight,
            drop_path=self.drop_path,
            cutout=self.cutout,
            epochs=self.epochs,
            steps=self.steps(suite),
            seed=self.seed,
        )

    def updater(self, problem: RobustTraining, steps: int) -> GradientStep:
        """Optimizer and schedule."""
        optimizer = torch.optim.SGD(
            problem.shared_parameters(), self.learning_rate,
            momentum=0.9, nesterov=True, weight_decay=5e-4,
        )  # fmt: skip
        rate = self.learning_rate
        if self.schedule == "cosine":
            share = warmed_cosine(steps, steps * self.warmup // self.epochs)
            return GradientStep(optimizer, scheduler=lambda o: LambdaLR(o, share))
        return GradientStep(
            optimizer,
            scheduler=lambda o: OneCycleLR(o, rate, total_steps=steps + 1, cycle_momentum=False),
        )


def warmed_cosine(steps: int, warmup: int) -> Callable[[int], float]:
    """Share of the largest rate in every step: a linear rise, then half a cosine down to zero.

    Args:
        steps: Number of steps.
        warmup: How many of them rise.
    """

    def share(step: int) -> float:
        if step < warmup:
            return (step + 1) / warmup
        return 0.5 * (1.0 + math.cos(math.pi * (step - warmup) / (steps - warmup)))

    return share


def accuracies(
    network: nn.Module,
    suite: Suite,
    task: str,
    split: Split,
    ball: Ball,
    *,
    bounds: Bounds | None,
    batch_size: int = 512,
    device: torch.device | str = "cpu",
    further: Mapping[str, Attack] | None = None,
) -> dict[str, float]:
    """Share of right answers: clean, under FGSM and under ten steps of PGD from a random start.

    Args:
        network: From images to logits.
        suite: Data.
        task: Which labels.
        split: Which part of the data.
        ball: Where perturbations lie.
        bounds: Smallest and largest value of the data.
        batch_size: Samples at a time.
        device: Where the network lives.
        further: Attacks in addition, by name.
    """
    victim = Victim(network, bounds=bounds)
    attacks: dict[str, Attack] = {
        "fgsm": FGSM(ball, bounds=bounds),
        "pgd": PGD(ball, steps=10, bounds=bounds, seed=0),
        **(further or {}),
    }
    right = dict.fromkeys(("clean", *attacks), 0)
    number = 0
    for batch in suite.loader(split, batch_size=batch_size):
        batch = batch.to(device)
        x = batch.inputs_of(task)
        labels = batch.targets[task]
        number += len(labels)
        goal = victim.objective(labels, loss=cross_entropy, success=misclassified)
        inputs = {"clean": x, **{n: attack.perturb(goal, x) for n, attack in attacks.items()}}
        with torch.no_grad():
            for name, x_adv in inputs.items():
                right[name] += int((victim(x_adv).argmax(1) == labels).sum())
    return {name: found / number for name, found in right.items()}
