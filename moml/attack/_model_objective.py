"""The objective that most attacks have: outputs of a model, compared with targets."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from moml.attack._objective import Measured, Objective

if TYPE_CHECKING:
    from moml.attack.victim import Victim

Compare = Callable[[Any, Any], Tensor]
"""``(output, target) -> (B,)``, or ``(B, T)``."""


class ModelObjective(Objective):
    """Losses and goals of a victim's outputs, both from one forward pass.

    Args:
        victim: The model under attack.
        target: What outputs are compared with: a tensor, or a mapping of tensors, each with one
            entry a sample.
        loss: Per-sample losses; or one for each of several outputs by name, which makes them
            ``(B, T)``.
        success: Where the goal is reached, likewise; ``None`` for no goal but a high loss.

    Raises:
        ValueError: If there are several losses but not a goal for each of them.
    """

    def __init__(
        self,
        victim: Victim,
        target: Tensor | Mapping[str, Tensor],
        *,
        loss: Compare | Mapping[str, Compare],
        success: Compare | Mapping[str, Compare] | None = None,
    ) -> None:
        if success is not None and _names(loss) != _names(success):
            raise ValueError(
                f"`success` should name the same tasks as `loss`, {_names(loss)}, "
                f"found {_names(success)}."
            )
        self.victim, self.target, self.loss, self.success = victim, target, loss, success
        self.bounds = victim.bounds

    def measure(self, x: Tensor) -> Measured:
        """One forward pass; goals are looked at without gradients."""
        output = self.victim.forward(x)
        losses = _compared(self.loss, output, self.target)
        if self.success is None:
            return Measured(losses, None)
        with torch.no_grad():
            return Measured(losses, _compared(self.success, output, self.target))

    def select(self, kept: Tensor) -> ModelObjective:
        """The same for the samples at ``kept``."""
        target = self.target
        if isinstance(target, Tensor):
            return self._against(target[kept])
        return self._against({name: one[kept] for name, one in target.items()})

    def without_goal(self) -> ModelObjective:
        """The losses alone."""
        return ModelObjective(self.victim, self.target, loss=self.loss)

    def held(self) -> AbstractContextManager[None]:
        """The model in evaluation mode."""
        return self.victim.held()

    @torch.no_grad()
    def reached(self, x: Tensor) -> Tensor:
        """Where inputs reach the goal, ``(B,)`` or ``(B, T)`` bool; bounds are checked.

        Raises:
            ValueError: If there is no goal, or inputs leave the bounds.
        """
        if self.success is None:
            raise ValueError("`success` should be given to tell what is reached, found None.")
        return _compared(self.success, self.victim(x), self.target)

    def _against(self, target: Tensor | Mapping[str, Tensor]) -> ModelObjective:
        return ModelObjective(self.victim, target, loss=self.loss, success=self.success)


def _compared(compare: Compare | Mapping[str, Compare], output: Any, target: Any) -> Tensor:
    if not isinstance(compare, Mapping):
        return compare(output, target)
    return torch.stack([one(output[name], target[name]) for name, one in compare.items()], dim=1)


def _names(compare: Compare | Mapping[str, Compare]) -> list[str] | None:
    return list(compare) if isinstance(compare, Mapping) else None
