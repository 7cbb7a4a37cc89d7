"""Exact Gramians in the memory of one layer's rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from moml.gradients.former import RowFormer
from moml.gradients.rows import Plan, Row, add_rows, combine_rows, form_rows, gramian_of_rows
from moml.gradients.segments import Segment, segments


class LayerRows(RowFormer):
    """Rows are formed a segment of the encoder at a time, multiplied, and let go of.

    The tasks' gradients go back together, from one place where the graph is one tensor wide to the
    next; the combined gradient is a second backward pass, of the weighted sum. Rows exist as a
    whole only if they are looked at themselves.
    """

    def gramian(self) -> Tensor:
        """Inner products of the rows, ``(m, m)``."""
        ways = self.live.found.ways
        if not ways.layers:
            return super().gramian()
        total = self._by_segments()
        holds = ways.layers_hold(total.diagonal().tolist(), self._plain_squares)
        return total if holds else super().gramian()

    def _plain_squares(self) -> list[float]:
        """Squared norms of the rows, each by one backward pass through everything."""
        live = self.live
        squares = []
        for cotangents, beside, _ in live.through_heads:
            below = live.through_encoder([cotangents], Plan(1))[0]
            row = add_rows(below, live.spread(live.layout.beside, beside))
            squares.append(float(gramian_of_rows([row])))
        return squares

    def _by_segments(self) -> Tensor:
        """Inner products summed over segments."""
        live, layout = self.live, self.live.layout
        inputs = [layout.shared[i] for i in layout.below]
        passes = live.through_heads
        direct = [dict(zip(layout.beside, row, strict=True)) for _, row, _ in passes]
        cotangents = [row for row, _, _ in passes]
        only_beside = [i for i in layout.beside if i not in set(layout.below)]
        total = gramian_of_rows([[row[i] for i in only_beside] for row in direct])
        outputs: Any = live.features.outputs
        for segment in segments(live.features.outputs, inputs):
            product, cotangents = self._walk(segment, outputs, inputs, cotangents, direct)
            total = total + product
            outputs = [segment.below]
        return total

    def _walk(
        self,
        segment: Segment,
        outputs: Any,
        inputs: Sequence[Tensor],
        cotangents: Sequence[Row],
        direct: Sequence[Mapping[int, Tensor | None]],
    ) -> tuple[Tensor, list[Row]]:
        """Inner products of the rows of a segment, and what goes on below; the rows end here."""
        edges: list[Any] = [] if segment.below is None else [segment.below]
        wanted = [*edges, *(inputs[i] for i in segment.parameters)]
        pulled = form_rows(outputs, wanted, cotangents, Plan(1))
        cut, where = len(edges), [self.live.layout.below[i] for i in segment.parameters]
        rows = [
            add_rows(row[cut:], [beside.get(i) for i in where])
            for row, beside in zip(pulled, direct, strict=True)
        ]
        return gramian_of_rows(rows), [row[:cut] for row in pulled]

    def combine(self, weights: Tensor) -> Row:
        """Weighted sum of the rows, by a backward pass of its own."""
        live, passes = self.live, self.live.through_heads
        cotangents = combine_rows([row for row, _, _ in passes], weights)
        beside = combine_rows([row for _, row, _ in passes], weights)
        row = live.through_encoder([cotangents], Plan(1))[0]
        return add_rows(row, live.spread(live.layout.beside, beside))
