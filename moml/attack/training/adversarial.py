"""Adversarial training, with the clean losses as objectives beside the robust ones if wanted."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from torch import Tensor
from torch.nn import Parameter

from moml.architecture import Architecture
from moml.attack import Attack
from moml.attack.training._perturbing import (
    CLEAN,
    ROBUST,
    Perturbing,
    labelled_losses,
    prefixed,
    unprefixed,
)
from moml.data import Batch
from moml.losses import Loss
from moml.problem import Losses

SUFFIX = " (robust)"


class Adversarial(Perturbing):
    """Losses at perturbed inputs, and those at clean inputs as objectives of their own.

    Madry et al., `Towards deep learning models resistant to adversarial attacks
    <https://arxiv.org/abs/1706.06083>`_, ICLR 2018, with ``clean=False``. With ``clean=True`` there
    are 2T objectives, ``task`` and ``task (robust)``, and any weighting decides between accuracy
    and robustness of every task. One perturbation raises all tasks' losses together; with inputs
    per task each gets its own. Costs the attack's steps on top of one or two passes.

    Args:
        architecture: The network.
        losses: Loss per task.
        attack: For example ``PGD(Linf(0.1), steps=7)``.
        clean: Whether clean losses are objectives too.
    """

    def __init__(
        self,
        architecture: Architecture,
        losses: Mapping[str, Loss],
        attack: Attack,
        *,
        clean: bool = True,
    ) -> None:
        super().__init__(architecture, losses, attack)
        self.with_clean = clean

    @property
    def tasks(self) -> tuple[str, ...]:
        """The tasks, clean first; without clean objectives just the tasks."""
        names = self.clean.tasks
        return (*names, *(name + SUFFIX for name in names)) if self.with_clean else names

    def shared_parameters(self) -> Iterable[Parameter]:
        """With two objectives per task even a head is shared by two."""
        return self.module.parameters() if self.with_clean else super().shared_parameters()

    def private_parameters(self, task: str) -> Iterable[Parameter]:
        """None with two objectives per task."""
        return () if self.with_clean else super().private_parameters(task)

    def features(self, batch: Batch) -> dict[str, Tensor]:
        """Representations of the perturbed inputs, and of the clean ones if they count."""
        losses = labelled_losses(self.clean.task_losses, batch)
        twin = self.perturbed(batch, losses, batch.targets)
        robust = prefixed(ROBUST, self.clean.features(twin))
        return prefixed(CLEAN, self.clean.features(batch)) | robust if self.with_clean else robust

    def losses_from(self, features: dict[str, Tensor], batch: Batch) -> Losses:
        """Losses of the tasks that have labels."""
        robust = self.clean.losses_from(unprefixed(ROBUST, features), batch)
        if not self.with_clean:
            return robust
        clean = self.clean.losses_from(unprefixed(CLEAN, features), batch)
        return {**clean, **{task + SUFFIX: loss for task, loss in robust.items()}}
