"""How a network of the tables is trained and measured.

Adversarial training by one signed gradient step from a random start (E. Wong, L. Rice, Z. Kolter,
"Fast is better than free: revisiting adversarial training", ICLR 2020); stochastic gradient descent
with Nesterov momentum and a learning rate that rises and falls once. Measured are clean accuracy,
accuracy under one signed step, and under ten steps of projected gradient descent at three radii.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_eval

from moml.attack import FGSM, PGD, Attack, Victim
from moml.attack.ball import Linf
from moml.attack.objectives import cross_entropy, misclassified

RADII = (0.05, 0.1, 0.15)
FGSM_RADIUS = 0.1
CHUNK = 400  # images attacked at once
MEASURES = ("clean", "fgsm", *(f"pgd_{radius:g}" for radius in RADII))


@dataclass(frozen=True)
class Protocol:
    """Training of one network.

    Args:
        epochs: Passes over the training images.
        batch_size: Images per step.
        learning_rate: The largest learning rate.
        momentum: Of Nesterov's kind.
        weight_decay: Weight decay of all parameters.
        eps: Radius of the perturbations in training, maximum norm, pixels in [0, 1].
    """

    epochs: int = 10
    batch_size: int = 128
    learning_rate: float = 0.1
    momentum: float = 0.9
    weight_decay: float = 5e-4
    eps: float = 0.1

    def train(self, network: nn.Module, images: Tensor, labels: Tensor, *, seed: int) -> None:
        """Train in place; the seed decides the order of the images and the random starts.

        Args:
            network: Logits of images ``(B, C, H, W)``.
            images: All training images in [0, 1].
            labels: Their classes.
            seed: Of batches and random starts.
        """
        generator = torch.Generator().manual_seed(seed)
        parameters = list(network.parameters())
        optimizer = torch.optim.SGD(
            parameters,
            lr=self.learning_rate,
            momentum=self.momentum,
            weight_decay=self.weight_decay,
            nesterov=True,
            foreach=True,
        )
        steps = self.epochs * (len(images) // self.batch_size)
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, self.learning_rate, total_steps=steps, cycle_momentum=False
        )
        # the faster layout on processors
        network.to(memory_format=torch.channels_last).train()  # type: ignore[call-overload]
        images = images.contiguous(memory_format=torch.channels_last)
        for _ in range(self.epochs):
            order = torch.randperm(len(images), generator=generator)
            for rows in order.split(self.batch_size):
                if len(rows) < self.batch_size:
                    continue  # the rest of an epoch would be a noisy step
                x, y = images[rows], labels[rows]
                x = self._perturbed(network, x, y, generator)
                optimizer.zero_grad()
                functional.cross_entropy(network(x), y).backward()
                optimizer.step()
                schedule.step()
        network.eval()

    def _perturbed(
        self, network: nn.Module, x: Tensor, y: Tensor, generator: torch.Generator
    ) -> Tensor:
        """A step of 1.25 radii along the gradient's sign, from a random point of the ball."""
        noise = torch.empty_like(x).uniform_(-self.eps, self.eps, generator=generator)
        start = (x + noise).clamp_(0, 1).requires_grad_()
        (gradient,) = torch.autograd.grad(functional.cross_entropy(network(start), y), start)
        moved = start.detach().add(gradient.sign(), alpha=1.25 * self.eps)
        return torch.clamp(moved, x - self.eps, x + self.eps).clamp_(0, 1)


def measure(network: nn.Module, images: Tensor, labels: Tensor, *, seed: int = 0) -> Tensor:
    """Whether each image is classified right, ``(images, MEASURES)`` bools.

    An image that an attack of a smaller radius has got wrong counts as wrong at larger ones too,
    since the same perturbation is allowed there; so accuracies fall with the radius.

    Args:
        network: Logits of images.
        images: Images in [0, 1].
        labels: Their classes.
        seed: Of the random starts.
    """
    victim = Victim(folded(network))
    attacks = [PGD(Linf(radius), steps=10, seed=seed) for radius in RADII]
    with victim.held():
        parts = [
            _robust(victim, attacks, x, y)
            for x, y in zip(images.split(CHUNK), labels.split(CHUNK), strict=True)
        ]
    return torch.cat(parts)


def folded(network: nn.Module) -> nn.Module:
    """A copy for evaluation: normalisations that follow a convolution are made part of it."""
    network = copy.deepcopy(network).eval().requires_grad_(False)
    for module in network.modules():
        if isinstance(module, nn.Sequential):
            for i, (first, second) in enumerate(pairwise(module)):
                if isinstance(first, nn.Conv2d) and isinstance(second, nn.BatchNorm2d):
                    module[i], module[i + 1] = fuse_conv_bn_eval(first, second), nn.Identity()
    return network


def _robust(victim: Victim, attacks: Sequence[Attack], x: Tensor, y: Tensor) -> Tensor:
    found = torch.zeros(len(x), len(MEASURES), dtype=torch.bool)

    def right(x_adv: Tensor, rows: Tensor) -> Tensor:
        with torch.no_grad():
            return rows[victim.forward(x_adv).argmax(1) == y[rows]]

    def attacked(attack: Attack, rows: Tensor) -> Tensor:
        goal = victim.objective(y[rows], loss=cross_entropy, success=misclassified)
        return right(attack.perturb(goal, x[rows]), rows)

    rows = right(x, torch.arange(len(x)))
    found[rows, 0] = True
    found[attacked(FGSM(Linf(FGSM_RADIUS)), rows), 1] = True
    for column, attack in enumerate(attacks, start=2):
        rows = attacked(attack, rows)
        found[rows, column] = True
    return found
