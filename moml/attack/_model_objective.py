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
        return not_broadcast(compare(output, target), output, target)
    missing = [n for n in compare if not isinstance(output, Mapping) or n not in output]
    if missing:
        found = list(output) if isinstance(output, Mapping) else type(output).__name__
        raise ValueError(f"`loss` should name outputs of the model, found {missing}, not {found}.")
    return torch.stack(
        [
            not_broadcast(one(output[name], target[name]), output[name], target[name])
            for name, one in compare.items()
        ],
        dim=1,
    )


def not_broadcast(values: Tensor, output: Any, target: Any) -> Tensor:
    """The values, unless outputs ``(B, 1)`` met targets ``(B,)`` and made ``(B, B)`` of them.

    Raises:
        ValueError: If so.
    """
    if values.dim() == 2 and isinstance(output, Tensor) and isinstance(target, Tensor):
        count = len(output)
        shapes = {tuple(output.shape), tuple(target.shape)}
        if count > 1 and values.shape == (count, count) and shapes == {(count,), (count, 1)}:
            raise ValueError(
                f"`loss` and `success` should give one number a sample, found shape "
                f"{tuple(values.shape)}: outputs {tuple(output.shape)} and targets "
                f"{tuple(target.shape)} were broadcast. Reshape one of them."
            )
    return values


def _names(compare: Compare | Mapping[str, Compare]) -> list[str] | None:
    return list(compare) if isinstance(compare, Mapping) else None
