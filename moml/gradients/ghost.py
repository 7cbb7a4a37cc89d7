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

from moml.gradients.cross import products_of_rows
from moml.gradients.former import RowFormer
from moml.gradients.linear_layers import Leaf
from moml.gradients.rows import (
    Plan,
    Row,
    add_rows,
    combine_rows,
    form_rows,
    gramian_of_rows,
    trustworthy,
)

Side = tuple[Sequence[Leaf], Sequence[Tensor]]
"""Layers, and the tasks' gradients on their outputs, of one batch."""

_LEAST = 1e-30  # products below it may have lost digits in float32


class GhostRows(RowFormer):
    """Rows on linear layers of the encoder are formed only if they are looked at themselves."""

    @cached_property
    def _parts(self) -> tuple[list[Leaf], list[Tensor], list[Row]]:
        """Linear layers, the tasks' gradients on their outputs ``(m, N, out)``, rows elsewhere."""
        leaves = self._admitted()
        pulled, rest = self._pulled(leaves)
        weights = [self._inputs[leaf.weight] for leaf in leaves]
        if unproven := self.live.found.layers.unproven(weights):
            refused = [i for i in unproven if not self._holds(leaves[i], i, pulled)]
            if refused:
                leaves = [leaf for i, leaf in enumerate(leaves) if i not in refused]
                pulled, rest = self._pulled(leaves)
        signals = [
            _stacked([row[k] for row in pulled], self._inputs, leaf)
            for k, leaf in enumerate(leaves)
        ]
        others = []
        for row, beside in zip(pulled, self.beside(), strict=True):
            spread: Row = [None] * len(self._inputs)
            for i, gradient in zip(rest, row[len(leaves) :], strict=True):
                spread[i] = gradient
            others.append(add_rows(self.live.spread(self.live.layout.below, spread), beside))
        return leaves, signals, others

    @property
    def _inputs(self) -> list[Parameter]:
        layout = self.live.layout
        return [layout.shared[i] for i in layout.below]

    def _admitted(self) -> list[Leaf]:
        """Layers whose gradients no hook changes."""
        found, inputs = self.live.found, self._inputs
        return [
            layer.leaf(found.nodes)
            for layer in found.layout.linear
            if found.layers.admits(
                inputs[layer.weight], None if layer.bias is None else inputs[layer.bias]
            )
        ]

    def _pulled(self, leaves: Sequence[Leaf]) -> tuple[list[Row], list[int]]:
        """Gradients on the layers' outputs and on the other parameters; and which these are."""
        live, inputs = self.live, self._inputs
        ghosts = {i for leaf in leaves for i in _positions(leaf)}
        rest = [i for i in range(len(inputs)) if i not in ghosts]
        wanted: list[Any] = [GradientEdge(leaf.node, 0) for leaf in leaves]
        wanted += [inputs[i] for i in rest]
        cotangents = [row for row, _, _ in live.through_heads]
        pulled = live.found.ways.form(
            lambda plan: form_rows(live.features.outputs, wanted, cotangents, plan),
            live.layout.plan,
            trusted=live.layout.operations.batched,
        )
        return pulled, rest

    def _holds(self, leaf: Leaf, k: int, pulled: Sequence[Row]) -> bool:
        """Whether a layer's gradients are what plain backpropagation gives, task by task."""
        live = self.live
        wanted = [self._inputs[i] for i in _positions(leaf)]
        for row, (cotangents, _, _) in zip(pulled, live.through_heads, strict=True):
            signal = row[k]
            found: Row = [None] * len(wanted)
            if signal is not None:
                found[:] = [signal.T @ leaf.inputs, signal.sum(0)][: len(wanted)]
            (plain,) = form_rows(live.features.outputs, wanted, [cotangents], Plan(1))
            if not live.found.layers.judge(wanted[0], found, plain):
                return False
        return True

    def gramian(self) -> Tensor:
        """Inner products of the rows, ``(m, m)``, from what lies between the layers."""
        leaves, signals, others = self._parts
        rest = gramian_of_rows(others)
        if not leaves:
            return rest
        sides = leaves, signals
        if torch.float64 not in {signal.dtype for signal in signals}:
            quick = rest + _symmetric(_products(sides, sides, torch.float32))
            if trustworthy(quick):
                return quick
        return rest + _symmetric(_products(sides, sides, torch.float64))

    def cross(self, other: RowFormer) -> Tensor | None:
        """Inner products with the rows of another batch, from what lies between the layers."""
        if not isinstance(other, GhostRows):
            return None
        leaves, signals, others = self._parts
        theirs, received, rest = other._parts
        if [(x.weight, x.bias) for x in leaves] != [(x.weight, x.bias) for x in theirs]:
            return None
        if self._inputs != other._inputs:
            return None
        total = products_of_rows(others, rest)
        if not leaves:
            return total
        sides = (leaves, signals), (theirs, received)
        if torch.float64 not in {signal.dtype for signal in (*signals, *received)}:
            quick = _products(*sides, torch.float32)
            if torch.isfinite(quick).all() and quick.abs().max() > _LEAST:
                return total + quick
        return total + _products(*sides, torch.float64)

    def rows(self) -> list[Row]:
        """The rows themselves, for methods that look at them."""
        leaves, signals, others = self._parts
        rows = [list(row) for row in others]
        for k in range(len(rows)):
            self._write(rows[k], leaves, [signal[k] for signal in signals])
        return rows

    def combine(self, weights: Tensor) -> Row:
        """Weighted sum of the rows, each layer's formed once."""
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
                place = self.live.layout.below[position]
                row[place] = gradient


def _positions(leaf: Leaf) -> list[int]:
    """Of its weight and its bias, if it has one."""
    return [i for i in (leaf.weight, leaf.bias) if i is not None]


def _stacked(signals: Sequence[Tensor | None], inputs: Sequence[Parameter], leaf: Leaf) -> Tensor:
    """The tasks' gradients on a layer's output, zeros where a task does not reach it."""
    width = inputs[leaf.weight].shape[0]
    blank = leaf.inputs.new_zeros(len(leaf.inputs), width)
    return torch.stack([blank if signal is None else signal for signal in signals])


def _products(first: Side, second: Side, dtype: torch.dtype) -> Tensor:
    """Inner products of the layers' gradients, ``(m, m')`` float64 on the CPU."""
    total = torch.zeros(len(first[1][0]), len(second[1][0]), dtype=torch.float64)
    for leaf, signal, other, received in zip(*first, *second, strict=True):
        kernel = leaf.inputs.to(dtype) @ other.inputs.to(dtype).T  # (N, N')
        if leaf.bias is not None:
            kernel = kernel + 1.0
        spread = kernel @ received.to(dtype)  # (m', N, out)
        total += (signal.to(dtype).flatten(1) @ spread.flatten(1).T).double().cpu()
    return total


def _symmetric(products: Tensor) -> Tensor:
    return (products + products.T) / 2
