"""Ways to rows with respect to the shared parameters: the plain one."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING

from torch import Tensor

from moml.gradients.rows import Row, add_rows, combine_rows, gramian_of_rows

if TYPE_CHECKING:
    from moml.gradients.live import ParameterRows


class RowFormer:
    """Forms the tasks' gradients on the shared parameters, each once.

    Args:
        live: The losses and their layout.
    """

    def __init__(self, live: ParameterRows) -> None:
        self._live = weakref.ref(live)  # which holds this: a cycle would keep rows for long

    @property
    def live(self) -> ParameterRows:
        """The losses and their layout."""
        live = self._live()
        assert live is not None
        return live

    def rows(self) -> list[Row]:
        """One row per task: through its head, then through the encoder."""
        live = self.live
        below = live.through_encoder([c for c, _, _ in live.through_heads], live.layout.plan)
        return [add_rows(a, b) for a, b in zip(below, self.beside(), strict=True)]

    def beside(self) -> list[Row]:
        """What each task reaches without the representation."""
        live = self.live
        return [live.spread(live.layout.beside, row) for _, row, _ in live.through_heads]

    def gramian(self) -> Tensor:
        """Inner products of the rows, ``(m, m)``."""
        return gramian_of_rows(self.live.rows)

    def combine(self, weights: Tensor) -> Row:
        """Weighted sum of the rows."""
        return combine_rows(self.live.rows, weights)

    def cross(self, other: RowFormer) -> Tensor | None:
        """Inner products with another batch's rows; ``None`` where rows have to be formed."""
        return None
