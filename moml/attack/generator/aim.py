"""What a generator does to one task: which victim, which loss to raise, when it has succeeded."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from moml.attack._model_objective import not_broadcast
from moml.attack.objectives import classified_as, cross_entropy, misclassified, targeted
from moml.attack.victim import Victim

Compare = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Aim:
    """One task of an attack.

    Attributes:
        victim: The model under attack; never trained.
        loss: Per-sample loss ``(output, target) -> (B,)`` that the attack raises: `cross_entropy`,
            `margin`, `dlr`, or any other, such as ``MaskedL1().per_sample`` for depth.
        success: Where the goal is reached, ``(output, target) -> (B,)`` bool; ``None`` if there is
            none but a high loss.
        relabel: Turns true targets into those that loss and success see.
        output: Which of the victim's outputs is meant, if there are several by name.
    """

    victim: Victim
    loss: Compare = cross_entropy
    success: Compare | None = misclassified
    relabel: Callable[[Tensor], Tensor] | None = None
    output: str | None = None

    def towards(self, relabel: int | Callable[[Tensor], Tensor]) -> Aim:
        """The targeted version: the loss is lowered against other labels.

        Args:
            relabel: The class every prediction should become, or a function of the true labels.
        """
        if isinstance(relabel, int):
            label = relabel
            return self.towards(lambda target: torch.full_like(target, label))
        return replace(self, loss=targeted(self.loss), success=classified_as, relabel=relabel)

    def measure(self, x: Tensor, target: Tensor) -> tuple[Tensor, Tensor | None]:
        """Losses ``(B,)``, part of the graph of ``x`` only, and where the goal is reached."""
        output = _frozen_forward(self.victim, x)
        if self.output is not None:
            output = output[self.output]
        target = target if self.relabel is None else self.relabel(target)
        loss = not_broadcast(self.loss(output, target), output, target)
        if self.success is None:
            return loss, None
        with torch.no_grad():
            return loss, not_broadcast(self.success(output, target), output, target)


def _frozen_forward(victim: Victim, x: Tensor) -> Any:
    """A forward pass whose graph does not contain the victim's parameters."""
    live = [p for p in victim.model.parameters() if p.requires_grad]
    try:
        for parameter in live:
            parameter.requires_grad_(False)
        return victim.forward(x)
    finally:
        for parameter in live:
            parameter.requires_grad_(True)
