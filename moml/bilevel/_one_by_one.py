"""One objective over several episodes: each is pulled back before the next one is solved."""

from __future__ import annotations

from functools import cached_property

import torch
from torch import Tensor

from moml.bilevel._solved import Solved
from moml.gradients.features import Features
from moml.gradients.layout import Layout
from moml.gradients.live import Live, ParameterRows
from moml.gradients.rows import Row, add_rows


class OneByOne(ParameterRows):
    """The gradient of a single objective, averaged over episodes that are gone.

    With several objectives the graphs of all episodes wait for the weights, or for as many rows as
    there are objectives. With one, its direction is known whatever the weight: memory is one
    episode's, which the next episode finds in the cache.

    Args:
        name: The objective.
        layout: As of the oracle; what is reached directly is in the row already.
        tasks: Position of the objective, ``(1,)``.
    """

    def __init__(self, name: str, layout: Layout, tasks: Tensor) -> None:
        super().__init__({name: torch.zeros(())}, Features(), layout, tasks, heads="weighted")
        self._losses: list[Tensor] = []
        self._row: Row = [None] * len(layout.shared)

    def add(self, loss: Tensor, solved: Solved) -> None:
        """Differentiate one episode's loss and add it; the loss's graph is freed on the way."""
        layout = self.layout
        beside = [layout.shared[i] for i in layout.beside]
        wanted = [*solved.inputs, *beside]
        row: Row = [None] * len(wanted)
        if loss.requires_grad:
            row = list(torch.autograd.grad(loss, wanted, allow_unused=True))
        cut = len(solved.inputs)
        below = solved.pull([row[:cut]], layout.shared, layout.plan)[0]
        direct = self.spread(layout.beside, row[cut:])
        self._row = add_rows(self._row, add_rows(below, direct))
        self._losses.append(loss.detach())

    @cached_property
    def losses(self) -> Tensor:
        """Mean over the episodes in which the objective was active, ``(1,)``."""
        return torch.stack(self._losses).mean().double().cpu()[None]

    @cached_property
    def rows(self) -> list[Row]:
        """The mean gradient."""
        count = len(self._losses)
        return [[None if g is None else g / count for g in self._row]]

    @property
    def formed(self) -> bool:
        """The row is there."""
        return True

    @cached_property
    def through_heads(self) -> list[tuple[Row, Row, Row]]:
        return [([], [], [])]

    def select(self, rows: Tensor) -> Live:
        """This objective is all there is."""
        return self
