"""Exact Gramians in the memory of one layer's rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

from torch import Tensor

from moml.evaluation import checked
from moml.oracle._live import ParameterRows
from moml.oracle._rows import Plan, Row, add_rows, combine_rows, form_rows, gramian_of_rows
from moml.oracle._segments import Segment, segments


class LayerRows(ParameterRows):
    """Rows are formed a segment of the encoder at a time, multiplied, and let go of.

    The tasks' gradients go back together, from one place where the graph is one tensor wide to the
    next; the combined gradient is a second backward pass, of the weighted sum. Rows exist as a
    whole only if they are looked at themselves.
    """

    @cached_property
    def gramian(self) -> Tensor:
        """Inner products of the rows, ``(m, m)``, summed over segments."""
        if "rows" in self.__dict__:
            return checked(gramian_of_rows(self.rows), self.names)
        shared, below = self.layout.shared, self.layout.below
        inputs = [shared[i] for i in below]
        direct = [dict(zip(self.layout.beside, row, strict=True)) for _, row, _ in self._heads]
        cotangents = [row for row, _, _ in self._heads]
        only_beside = [i for i in self.layout.beside if i not in set(below)]
        total = gramian_of_rows([[row[i] for i in only_beside] for row in direct])
        outputs: Any = self.features.outputs
        for segment in segments(self.features.outputs, inputs):
            product, cotangents = self._walk(segment, outputs, inputs, cotangents, direct)
            total = total + product
            outputs = [segment.below]
        return checked(total, self.names)

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
        cut, where = len(edges), [self.layout.below[i] for i in segment.parameters]
        rows = [
            add_rows(row[cut:], [beside.get(i) for i in where])
            for row, beside in zip(pulled, direct, strict=True)
        ]
        return gramian_of_rows(rows), [row[:cut] for row in pulled]

    def _combine(self, weights: Tensor) -> Row:
        if "rows" in self.__dict__:
            return combine_rows(self.rows, weights)
        cotangents = combine_rows([row for row, _, _ in self._heads], weights)
        beside = combine_rows([row for _, row, _ in self._heads], weights)
        row = self._through_encoder([cotangents], Plan(1))[0]
        return add_rows(row, self._spread(self.layout.beside, beside))
