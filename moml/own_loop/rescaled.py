"""Losses computed on another scale than the weighting should see."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import Parameter

from moml.errors import NonFiniteError
from moml.gradients.task_gradients import Evaluation, Heads


class Rescaled(Evaluation):
    """The step as if its losses had not been multiplied; what is written stays multiplied.

    A gradient scaler multiplies losses so that gradients do not underflow, and divides ``.grad``
    before the optimizer's step; a step of several micro-batches adds up shares of gradients. The
    weighting sees neither.

    Args:
        base: The step with multiplied losses.
        factor: Their factor.
    """

    def __init__(self, base: Evaluation, factor: float) -> None:
        self.base, self.factor = base, factor
        self.names, self.tasks = base.names, base.tasks
        self.follow(base)

    @property
    def losses(self) -> Tensor:
        """The losses before they were multiplied."""
        return self.base.losses / self.factor

    @property
    def gramian(self) -> Tensor:
        """Inner products of the gradients of these losses."""
        return self.base.gramian / self.factor / self.factor

    @property
    def known_gramian(self) -> Tensor | None:
        """The Gramian if it was computed."""
        return None if self.base.known_gramian is None else self.gramian

    @property
    def jacobian(self) -> Tensor:
        """Gradients of these losses.

        Raises:
            NonFiniteError: If one is NaN or infinite.
        """
        rows = self.base.jacobian
        bad = (~torch.isfinite(rows).all(1)).nonzero().flatten().tolist()
        if bad:
            raise NonFiniteError("gradient", [self.names[i] for i in bad])
        return rows / self.factor

    @property
    def blocks(self) -> list[int]:
        """Those of the step inside."""
        return self.base.blocks

    @property
    def places(self) -> Sequence[int]:
        """Those of the step inside."""
        return self.base.places

    def pullback(self, weights: Tensor) -> Tensor:
        """The weighted gradient of these losses."""
        return self.base.pullback(weights) / self.factor

    def apply(self, weights: Tensor, *, heads: Heads | None = None) -> None:
        """Accumulate the weighted gradient of the multiplied losses."""
        self.base.apply(weights, heads=heads)

    def assign(self, direction: Tensor) -> None:
        """Accumulate the multiplied direction."""
        self.base.assign(direction * self.factor)

    def draw(self, i: int) -> Evaluation:
        """A further batch, whose losses were multiplied as well."""
        return self if i == 0 else Rescaled(self.base.draw(i), self.factor)

    def cross(self, other: Evaluation) -> Tensor:
        """Inner products with the gradients of another batch."""
        if isinstance(other, Rescaled):
            return self.base.cross(other.base) / self.factor / other.factor
        return self.base.cross(other) / self.factor

    def select(self, rows: Tensor) -> Evaluation:
        """Some of the tasks."""
        return Rescaled(self.base.select(rows), self.factor)

    def task_gradients(self) -> tuple[Sequence[Parameter], list[list[Tensor | None]]]:
        """The shared parameters, and the gradients of these losses."""
        parameters, rows = self.base.task_gradients()
        return parameters, [[g if g is None else g / self.factor for g in row] for row in rows]
