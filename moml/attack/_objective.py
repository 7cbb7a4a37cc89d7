"""What an attack raises, and when it may stop: per-sample losses and goals."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import NamedTuple

import torch
from torch import Tensor

from moml.data import Bounds


class Measured(NamedTuple):
    """Losses, and where the goal is reached, of one forward pass."""

    losses: Tensor
    """``(B,)``, or ``(B, T)`` for several tasks."""
    reached: Tensor | None
    """Bools, ``(B,)`` or ``(B, T)``; ``None`` if there is no goal but a high loss."""


class Objective(ABC):
    """Per-sample losses of the inputs, to be raised, and whether each sample is where it should be.

    A plain function ``x -> (B,)`` will do in its place. An objective can do more: tell losses and
    goal from one forward pass, leave finished samples out, and hold its model in evaluation mode.
    """

    bounds: Bounds | None = None
    """Smallest and largest value of the data, where it is known."""

    @abstractmethod
    def measure(self, x: Tensor) -> Measured:
        """Losses, part of the graph of ``x``, and goals."""

    @abstractmethod
    def select(self, kept: Tensor) -> Objective:
        """The same for some of the samples, given by their indices."""

    @abstractmethod
    def without_goal(self) -> Objective:
        """The same losses and nothing else, for attacks that do not look where they are."""

    def held(self) -> AbstractContextManager[None]:
        """A context around a whole attack."""
        return nullcontext()

    def __call__(self, x: Tensor) -> Tensor:
        """Losses ``(B,)`` or ``(B, T)``."""
        return self.measure(x).losses


Loss = Callable[[Tensor], Tensor] | Objective
Success = Callable[[Tensor], Tensor]


def as_objective(loss: Loss, success: Success | None, x: Tensor) -> Objective:
    """An objective from what the user gave, for the batch ``x``."""
    if isinstance(loss, Objective) and success is None:
        return loss
    return _Closures(loss, success, x)


class _Closures(Objective):
    """Functions of a whole batch.

    A function cannot leave samples out: the others are put back into the clean batch for it, which
    is right but no faster.

    Args:
        loss: Per-sample losses.
        success: Where the goal is reached.
        batch: All clean samples.
        kept: Indices of those that take part; all unless given.
    """

    def __init__(
        self, loss: Loss, success: Success | None, batch: Tensor, kept: Tensor | None = None
    ) -> None:
        self.loss, self.success, self.batch, self.kept = loss, success, batch, kept
        self.bounds = loss.bounds if isinstance(loss, Objective) else None

    def measure(self, x: Tensor) -> Measured:
        """Call both functions."""
        if self.kept is None:
            return Measured(self.loss(x), self._reached(x))
        whole = self.batch.index_copy(0, self.kept, x)
        losses, reached = self.loss(whole), self._reached(whole)
        check_rows(losses, len(whole), "loss")
        if reached is not None:
            check_rows(reached, len(whole), "success")
            reached = reached[self.kept]
        return Measured(losses[self.kept], reached)

    def select(self, kept: Tensor) -> Objective:
        """Remember which samples remain."""
        kept = kept if self.kept is None else self.kept[kept]
        return _Closures(self.loss, self.success, self.batch, kept)

    def without_goal(self) -> Objective:
        """The loss alone."""
        return _Closures(self.loss, None, self.batch, self.kept)

    def held(self) -> AbstractContextManager[None]:
        """As the objective inside wants it."""
        return self.loss.held() if isinstance(self.loss, Objective) else nullcontext()

    def _reached(self, x: Tensor) -> Tensor | None:
        if self.success is None:
            return None
        with torch.no_grad():
            return self.success(x.detach())


def check_rows(values: Tensor, count: int, name: str) -> None:
    """Whether there is one value a sample, or one a sample and task.

    Raises:
        ValueError: If not.
    """
    if values.dim() not in (1, 2) or len(values) != count:
        raise ValueError(
            f"`{name}` should give one number a sample, shape ({count},), or one a sample and "
            f"task, found shape {tuple(values.shape)}. Do not average over the batch."
        )
