"""TRADES: accuracy at clean inputs, and predictions that do not change near them."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional

from moml._support import checks
from moml.architecture import Architecture
from moml.attack import Attack
from moml.attack._labels import two_classes
from moml.attack.objectives import Compare
from moml.attack.training._perturbing import (
    CLEAN,
    ROBUST,
    Perturbing,
    detached,
    prefixed,
    unprefixed,
)
from moml.data import Batch
from moml.losses import Loss
from moml.problem import Losses


class TRADES(Perturbing):
    r"""Clean loss plus :math:`\beta` times how far predictions move under attack.

    Zhang et al., `Theoretically Principled Trade-off between Robustness and Accuracy
    <https://arxiv.org/abs/1901.08573>`_, ICML 2019. For class logits the distance is
    :math:`\mathrm{KL}(p(x) \| p(x'))`, for yes/no logits the same of every answer, for any other
    output the mean squared difference. The attack raises that distance, not the loss, and needs a
    random start: at the clean input the distance has no gradient.

    Args:
        architecture: The network.
        losses: Loss per task, which says how predictions decide (`Loss.logits`).
        attack: For example ``PGD(Linf(0.1), steps=10)``.
        beta: Weight of the distance.
    """

    def __init__(
        self,
        architecture: Architecture,
        losses: Mapping[str, Loss],
        attack: Attack,
        *,
        beta: float = 6.0,
    ) -> None:
        super().__init__(architecture, losses, attack)
        checks.number("beta", beta, least=0)
        self.beta = beta

    @property
    def tasks(self) -> tuple[str, ...]:
        """The architecture's tasks."""
        return self.clean.tasks

    def features(self, batch: Batch) -> dict[str, Tensor]:
        """Representations of clean and perturbed inputs."""
        features = self.clean.features(batch)
        with torch.no_grad():
            fixed = detached(self.module.decode(features, self._present(batch)))
        distances = {task: self._distance(task) for task in fixed}
        twin = self.perturbed(batch, distances, fixed)
        return prefixed(CLEAN, features) | prefixed(ROBUST, self.clean.features(twin))

    def losses_from(self, features: dict[str, Tensor], batch: Batch) -> Losses:
        """Clean loss plus the weighted distance, per task that has labels."""
        clean, robust = unprefixed(CLEAN, features), unprefixed(ROBUST, features)
        losses = self.clean.losses_from(clean, batch)
        names = list(losses)
        before, after = self.module.decode(clean, names), self.module.decode(robust, names)
        return {
            task: loss + self.beta * self._distance(task)(after[task], before[task]).mean()
            for task, loss in losses.items()
        }

    def _present(self, batch: Batch) -> list[str]:
        return [task for task in self.tasks if batch.has_labels(task)]

    def _distance(self, task: str) -> Compare:
        return _DISTANCES[self.clean.task_losses[task].logits]


def class_distance(logits: Tensor, reference: Tensor) -> Tensor:
    """Divergence of the prediction from the reference's, mean over positions, ``(B,)``."""
    log_p, log_q = reference.log_softmax(1), logits.log_softmax(1)
    divergence = functional.kl_div(log_q, log_p, reduction="none", log_target=True).sum(1)
    return divergence.reshape(len(logits), -1).mean(1)


def answer_distance(logits: Tensor, reference: Tensor) -> Tensor:
    """Divergence of every yes/no answer from the reference's, mean over the answers, ``(B,)``."""
    return class_distance(two_classes(logits), two_classes(reference))


def squared_distance(prediction: Tensor, reference: Tensor) -> Tensor:
    """Mean squared difference, ``(B,)``."""
    return (prediction - reference).square().reshape(len(prediction), -1).mean(1)


_DISTANCES: dict[str | None, Compare] = {
    "classes": class_distance,
    "yes_no": answer_distance,
    None: squared_distance,
}
