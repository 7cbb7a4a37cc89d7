r"""Exact Gramians of linear layers without their gradients.

With a layer's input :math:`A` and task k's gradient :math:`D_k` on its output, the task's gradient
on the weights is :math:`D_k^\top A`, so that :math:`\langle g_i, g_j \rangle = \langle D_i, (A
A^\top + 1) D_j \rangle` (the 1 for a bias) and :math:`\sum_k w_k g_k = (\sum_k w_k D_k)^\top A`.
The :math:`D_k` are there in the middle of a backward pass: K products with the weights' transpose
are all that is left of K backward passes. The algebra of ghost norms (Goodfellow, `Efficient
per-example gradient computations <https://arxiv.org/abs/1510.01799>`_, 2015), per task.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import torch
from torch import Tensor
from torch.autograd.graph import GradientEdge
from torch.nn import Parameter

from moml.evaluation import checked
from moml.oracle._linear_leaves import Leaf, linear_leaves
from moml.oracle._live import ParameterRows
from moml.oracle._rows import Row, add_rows, combine_rows, form_rows, gramian_of_rows, trustworthy


class GhostRows(ParameterRows):
    """Rows on linear layers of the encoder are formed only if they are looked at themselves."""

    @cached_property
    def _parts(self) -> tuple[list[Leaf], list[Tensor], list[Row]]:
        """Linear layers, the tasks' gradients on their outputs ``(m, N, out)``, rows elsewhere."""
        inputs = [self.layout.shared[i] for i in self.layout.below]
        beside = [self.layout.shared[i] for i in self.layout.beside]
        leaves = linear_leaves(self.features.outputs, inputs, elsewhere=beside)
        ghosts = {i for leaf in leaves for i in (leaf.weight, leaf.bias) if i is not None}
        rest = [i for i in range(len(inputs)) if i not in ghosts]
        wanted: list[Any] = [GradientEdge(leaf.node, 0) for leaf in leaves]
        wanted += [inputs[i] for i in rest]
        cotangents = [row for row, _, _ in self._heads]
        pulled = form_rows(self.features.outputs, wanted, cotangents, self.layout.plan)
        signals = [
            _stacked([row[k] for row in pulled], inputs, leaf) for k, leaf in enumerate(leaves)
        ]
        others = []
        for row, (_, direct, _) in zip(pulled, self._heads, strict=True):
            spread: Row = [None] * len(inputs)
            for i, gradient in zip(rest, row[len(leaves) :], strict=True):
                spread[i] = gradient
            below = self._spread(self.layout.below, spread)
            others.append(add_rows(below, self._spread(self.layout.beside, direct)))
        return leaves, signals, others

    @cached_property
    def gramian(self) -> Tensor:
        """Inner products of the rows, ``(m, m)``, from what lies between the layers."""
        if "rows" in self.__dict__:
            return checked(gramian_of_rows(self.rows), self.names)
        leaves, signals, others = self._parts
        rest = gramian_of_rows(others)
        if not leaves:
            return checked(rest, self.names)
        dtypes = {signal.dtype for signal in signals}
        if torch.float64 not in dtypes:
            quick = rest + _products(leaves, signals, torch.float32)
            if trustworthy(quick):
                return checked(quick, self.names)
        return checked(rest + _products(leaves, signals, torch.float64), self.names)

    @cached_property
    def rows(self) -> list[Row]:
        """The rows themselves, for methods that look at them."""
        leaves, signals, others = self._parts
        rows = [list(row) for row in others]
        for k in range(len(rows)):
            self._write(rows[k], leaves, [signal[k] for signal in signals])
        return rows

    def _combine(self, weights: Tensor) -> Row:
        if "rows" in self.__dict__:
            return combine_rows(self.rows, weights)
        leaves, signals, others = self._parts
        combined = combine_rows(others, weights)
        mixed = [
            (weights.to(signal) @ signal.flatten(1)).view(signal.shape[1:]) for signal in signals
        ]
        self._write(combined, leaves, mixed)
        return combined

    def _write(self, row: Row, leaves: Sequence[Leaf], signals: Sequence[Tensor]) -> None:
        """Put the layers' gradients, given those on their outputs ``(N, out)``, into a row."""
        for leaf, signal in zip(leaves, signals, strict=True):
            found = [(leaf.weight, signal.T @ leaf.inputs)]
            if leaf.bias is not None:
                found.append((leaf.bias, signal.sum(0)))
            for position, gradient in found:
                place = self.layout.below[position]
                row[place] = gradient


def _stacked(signals: Sequence[Tensor | None], inputs: Sequence[Parameter], leaf: Leaf) -> Tensor:
    """The tasks' gradients on a layer's output, zeros where a task does not reach it."""
    width = inputs[leaf.weight].shape[0]
    blank = leaf.inputs.new_zeros(len(leaf.inputs), width)
    return torch.stack([blank if signal is None else signal for signal in signals])


def _products(leaves: Sequence[Leaf], signals: Sequence[Tensor], dtype: torch.dtype) -> Tensor:
    """Inner products of the layers' gradients, ``(m, m)`` float64 on the CPU."""
    total = torch.zeros(len(signals[0]), len(signals[0]), dtype=torch.float64)
    for leaf, signal in zip(leaves, signals, strict=True):
        x, d = leaf.inputs.to(dtype), signal.to(dtype)
        kernel = x @ x.T  # (N, N)
        if leaf.bias is not None:
            kernel = kernel + 1.0
        total += (d.flatten(1) @ (kernel @ d).flatten(1).T).double().cpu()
    return (total + total.T) / 2
