"""Training of a preference-conditioned generator, as a problem."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn
from torch.nn import Parameter

from moml._support import checks
from moml.attack.generator.aim import Aim
from moml.attack.generator.preference_generator import PreferenceGenerator
from moml.data.batch import Batch
from moml.problem import Losses, Problem
from moml.weighting import Randomized


class PreferenceAttack(Problem):
    """Raises every aim by as much as a preference drawn for each sample asks for.

    A task's loss is minus the mean over the batch of its aim's loss times the sample's preference
    for it (times the number of tasks, 1 on average). Preferences are uniform on the simplex, or one
    of its corners. Single-input batches, fully labelled: there is one perturbation for all tasks.

    Args:
        generator: What is trained.
        aims: For each of its tasks, what to do to which victim.
        corners: Share of the samples whose preference is a single task.
        seed: Seed of the preferences; their state is part of the module's.

    Raises:
        ValueError: If the tasks are not the generator's, or ``corners`` is no share.
    """

    def __init__(
        self,
        generator: PreferenceGenerator,
        aims: Mapping[str, Aim],
        *,
        corners: float = 0.5,
        seed: int = 0,
    ) -> None:
        if set(aims) != set(generator.tasks):
            raise ValueError(
                f"`aims` should have the generator's tasks {sorted(generator.tasks)}, "
                f"found {sorted(aims)}."
            )
        checks.number("corners", corners, least=0, most=1)
        self.generator, self.aims, self.corners = generator, dict(aims), corners
        self._draws = Randomized(seed)
        self._module = nn.ModuleDict({"generator": generator, "draws": self._draws})

    @property
    def tasks(self) -> tuple[str, ...]:
        """The generator's tasks."""
        return self.generator.tasks

    @property
    def module(self) -> nn.Module:
        """The generator, and the state of the preferences' draws."""
        return self._module

    def shared_parameters(self) -> Iterable[Parameter]:
        """All parameters: there is one perturbation."""
        return self.generator.parameters()

    def private_parameters(self, task: str) -> Iterable[Parameter]:
        """None."""
        return ()

    def losses(self, batch: Batch) -> Losses:
        """Minus the mean of each aim, weighted by the samples' preferences.

        Raises:
            ValueError: If every task has inputs of its own.
        """
        if not isinstance(batch.inputs, Tensor):
            raise ValueError(
                "`batch.inputs` should be one tensor for all tasks, found one for each of "
                f"{list(batch.inputs)}. One perturbation needs one input; see MTA."
            )
        preference = self.preferences(len(batch.inputs)).to(batch.inputs)  # (B, T)
        x_adv = self.generator(batch.inputs, preference)
        losses = {}
        for weight, task in zip(preference.unbind(1), self.tasks, strict=True):
            raised, _ = self.aims[task].measure(x_adv, batch.targets[task])  # (B,)
            losses[task] = -len(self.tasks) * (weight * raised).mean()
        return losses

    def preferences(self, count: int) -> Tensor:
        """Fresh preferences, ``(count, T)``."""
        draw, m = self._draws.generator, len(self.tasks)
        parts = -torch.log1p(-torch.rand(count, m, generator=draw))  # exponential
        inside = parts / parts.sum(1, keepdim=True).clamp(min=1e-12)
        corner = torch.eye(m)[torch.randint(m, (count,), generator=draw)]
        chosen = torch.rand(count, 1, generator=draw) < self.corners
        return torch.where(chosen, corner, inside)
