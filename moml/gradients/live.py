"""Evaluations of losses whose graph is alive."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property

import torch
from torch import Tensor
from torch.nn import Parameter

from moml._support.autocast import without_autocast
from moml._support.flat import flat, numbers, shaped
from moml.gradients.by_layer import LayerRows
from moml.gradients.cross import products_of_rows
from moml.gradients.features import Features
from moml.gradients.former import RowFormer
from moml.gradients.ghost import GhostRows
from moml.gradients.layout import Layout
from moml.gradients.layouts import Found
from moml.gradients.rows import (
    Plan,
    Row,
    add_rows,
    combine_rows,
    flatten_column,
    gradients,
    gramian_of_rows,
)
from moml.gradients.task_gradients import Evaluation, Heads, accumulate, accumulate_flat, checked

_FORMERS: Mapping[str, type[RowFormer]] = {
    "rows": RowFormer, "ghost": GhostRows, "layers": LayerRows,
}  # fmt: skip


class Live(Evaluation):
    """Losses with a graph; subclasses say with respect to what rows are formed.

    Args:
        losses: Task name to scalar.
        features: The representation, if there is one.
        layout: Who owns what, or finds it in the graph of the step; then it is looked for when
            gradients of single tasks are asked for, since a weighted sum of losses needs none.
        tasks: Position of each loss among all tasks, ``(m,)``.
        heads: How private parameters are scaled.

    Attributes:
        live: The losses with their graph.
        only: The leaves that may get a gradient; all unless given.
        keeps: A backward pass of the weighted sum leaves the graph alive.
    """

    only: Sequence[Tensor] | None = None
    keeps: bool = False

    def __init__(
        self,
        losses: Mapping[str, Tensor],
        features: Features,
        layout: Layout | Callable[[], Found],
        tasks: Tensor,
        *,
        heads: Heads,
    ) -> None:
        self.names, self.tasks = tuple(losses), tasks
        self.features, self.heads = features, heads
        self._find = layout
        self.live = list(losses.values())

    @cached_property
    def found(self) -> Found:
        """The step's layout, and what goes with it."""
        if isinstance(self._find, Layout):
            return Found(self._find, self.features)
        found = self._find()
        self.features = found.features
        return found

    @property
    def layout(self) -> Layout:
        """Who owns what, and how rows are formed."""
        return self.found.layout

    @cached_property
    def losses(self) -> Tensor:
        """The losses, ``(m,)``."""
        if self.live[0].device.type == "cpu":
            return torch.tensor([loss.item() for loss in self.live], dtype=torch.float64)
        return torch.stack([loss.detach() for loss in self.live]).double().cpu()  # one transfer

    @property
    @abstractmethod
    def rows(self) -> list[Row]:
        """The tasks' gradients, computed once."""

    @property
    @abstractmethod
    def _columns(self) -> Sequence[Tensor]:
        """What rows are gradients with respect to."""

    @abstractmethod
    def _combine(self, weights: Tensor) -> Row:
        """Weighted gradient on the shared parameters, from rows."""

    def select(self, rows: Tensor) -> Live:
        """Some of the losses, with the same graph; their heads alone get gradients."""
        chosen = {self.names[i]: self.live[i] for i in rows.tolist()}
        found: Callable[[], Found] = lambda: self.found  # noqa: E731
        part = type(self)(chosen, self.features, found, self.tasks[rows], heads=self.heads)
        part.follow(self)
        part.only, part.keeps = self.only, self.keeps
        return part

    def refuse_hidden(self) -> None:
        """Verify that gradients of single tasks can be had.

        Raises:
            ValueError: If parameters may be hidden in a checkpointed part.
        """
        if self.layout.hidden:
            raise ValueError(
                "Checkpointed parts should be without re-entrance where gradients of single tasks "
                "or parameters are looked at, found one with. Call "
                "`torch.utils.checkpoint.checkpoint` with `use_reentrant=False`."
            )

    @property
    def formed(self) -> bool:
        """Whether rows were formed, so that the heads need no further backward pass."""
        return "through_heads" in self.__dict__

    @cached_property
    @without_autocast
    def gramian(self) -> Tensor:
        """Inner products of the rows, ``(m, m)``."""
        return checked(gramian_of_rows(self.rows), self.names)

    @property
    def known_gramian(self) -> Tensor | None:
        """The Gramian if the weighting asked for it."""
        return self.__dict__.get("gramian")

    @cached_property
    @without_autocast
    def jacobian(self) -> Tensor:
        """The rows, flattened and stacked, ``(m, n)``; zero where a loss does not reach."""
        if not self._columns:  # nothing is shared
            return self.live[0].new_zeros(len(self.names), 0)
        columns = [
            flatten_column(column) or [flat(torch.zeros_like(x))] * len(self.names)
            for column, x in zip(zip(*self.rows, strict=True), self._columns, strict=True)
        ]
        return torch.stack([torch.cat(parts) for parts in zip(*columns, strict=True)])

    @property
    def blocks(self) -> list[int]:
        """Entries of each tensor that rows are gradients with respect to."""
        return [numbers(x) for x in self._columns]

    @without_autocast
    def cross(self, other: Evaluation) -> Tensor:
        """Inner products with the rows of another batch, tensor by tensor."""
        if other is self or not isinstance(other, Live):
            return super().cross(other)
        return products_of_rows(self.rows, other.rows)

    @without_autocast
    def pullback(self, weights: Tensor) -> Tensor:
        """The weighted gradient on the shared parameters, flat, ``(n,)``."""
        row = self._combine(weights) if self.formed else self._differentiate(weights)
        shared = self.layout.shared
        if not shared:
            return self.live[0].new_zeros(0)
        pairs = zip(row, shared, strict=True)
        return torch.cat([flat(torch.zeros_like(p) if g is None else g) for g, p in pairs])

    @without_autocast
    def apply(self, weights: Tensor, *, heads: Heads | None = None) -> None:
        """Accumulate the weighted gradient into ``.grad``."""
        unit = (heads or self.heads) == "unit"
        if self.formed:
            accumulate_row(self.layout.shared, self._combine(weights))
            self._accumulate_private(None if unit else weights)
        elif not self.features.backpropagates:
            accumulate_row(self.layout.shared, self._differentiate(weights))
        elif unit and bool((weights != 1).any()):
            self.refuse_hidden()
            private = list(dict.fromkeys(p for name in self.names for p in self._own[name]))
            self._backward(torch.ones_like(weights), private, keep=True)
            self._backward(weights, self.layout.shared, keep=self.keeps)  # frees what is below
        else:
            if self.only is not None:
                self.refuse_hidden()
            self._backward(weights, self.only, keep=self.keeps)

    # One pass through each head ---------------------------------------------------------------

    @cached_property
    @without_autocast
    def through_heads(self) -> list[tuple[Row, Row, Row]]:
        """Per task, its gradient on the representation, on shared parameters beside, on its own."""
        layout = self.layout
        self.refuse_hidden()
        if self.features.views and not layout.beside:
            return self._heads_together()
        beside = [layout.shared[i] for i in layout.beside]
        passes = []
        for name, loss in zip(self.names, self.live, strict=True):
            wanted = [*self.features.inputs, *beside, *self._own[name]]
            row: Row = [None] * len(wanted)
            if loss.requires_grad and wanted:
                row = gradients([loss], wanted)
            a, b = len(self.features.inputs), len(self.features.inputs) + len(beside)
            passes.append((row[:a], row[a:b], row[b:]))
        return passes

    def _heads_together(self) -> list[tuple[Row, Row, Row]]:
        """The same in one pass: every loss has a view of the representation to itself."""
        views = [self.features.views[name] for name in self.names]
        own = [self._own[name] for name in self.names]
        roots = [loss for loss in self.live if loss.requires_grad]
        wanted = [*views, *(p for parameters in own for p in parameters)]
        found = iter(gradients(roots, wanted))
        cotangents = [next(found) for _ in views]
        passes: list[tuple[Row, Row, Row]] = []
        for name, cotangent, parameters in zip(self.names, cotangents, own, strict=True):
            row: Row = [None] * len(self.features.inputs)
            row[self.features.sources[name]] = cotangent
            passes.append((row, [], [next(found) for _ in parameters]))
        return passes

    def _accumulate_private(self, weights: Tensor | None) -> None:
        factors = [1.0] * len(self.names) if weights is None else weights.tolist()
        totals: dict[Tensor, Tensor | None] = {}  # whole before hooks see them
        for name, (_, _, row), factor in zip(self.names, self.through_heads, factors, strict=True):
            for leaf, gradient in zip(self._own[name], row, strict=True):
                if gradient is not None:
                    scaled = gradient if factor == 1.0 else gradient * factor
                    known = totals.get(leaf)
                    totals[leaf] = scaled if known is None else known + scaled
        accumulate_row(list(totals), list(totals.values()))

    @cached_property
    def _own(self) -> dict[str, tuple[Tensor, ...]]:
        """Per task, leaves that are not shared: they get its gradient, as in a weighted sum."""
        layout, nodes = self.layout, self.found.nodes
        if not layout.others:
            return {name: layout.private.get(name, ()) for name in self.names}
        allowed = None if self.only is None else set(self.only)
        own: dict[str, tuple[Tensor, ...]] = {}
        for name in self.names:
            found: list[Tensor] = [nodes[i].variable for i in layout.others.get(name, ())]  # type: ignore[attr-defined]
            kept = [leaf for leaf in found if allowed is None or leaf in allowed]
            own[name] = (*layout.private.get(name, ()), *kept)
        return own

    def through_encoder(self, cotangents: Sequence[Row], plan: Plan) -> list[Row]:
        """Gradients on the shared parameters, given those on the representation."""
        layout = self.layout
        inputs = [layout.shared[i] for i in layout.below]
        rows = self.found.ways.form(
            lambda chosen: self.features.pull(cotangents, inputs, chosen),
            plan,
            trusted=layout.operations.batched,
        )
        return [self.spread(layout.below, row) for row in rows]

    def spread(self, positions: Sequence[int], row: Row) -> Row:
        """A row of all shared parameters, of those at some positions."""
        spread: Row = [None] * len(self.layout.shared)
        for i, gradient in zip(positions, row, strict=True):
            spread[i] = gradient
        return spread

    def _pull(self, cotangents: Row, weights: Tensor) -> Row:
        """Cotangents of the representation through the encoder, and what is beside, weighted."""
        beside = combine_rows([row for _, row, _ in self.through_heads], weights)
        below = self.through_encoder([cotangents], Plan(1))[0]
        return add_rows(below, self.spread(self.layout.beside, beside))

    # No rows: one backward pass of the weighted sum -------------------------------------------

    def _seeds(self, weights: Tensor) -> tuple[list[Tensor], list[Tensor | None]]:
        """Losses that have a graph, and each one's weight like it; ``None`` if all are 1."""
        if bool((weights == 1).all()):
            seeds: list[Tensor | None] = [None] * len(self.live)
        else:  # converted together: a tensor of its own for each costs a hundredth at 32 tasks
            converted = weights.to(self.live[0]).unbind()
            seeds = [seed.to(x) for seed, x in zip(converted, self.live, strict=True)]
        pairs = [p for p in zip(self.live, seeds, strict=True) if p[0].requires_grad]
        return [loss for loss, _ in pairs], [seed for _, seed in pairs]

    def _backward(
        self, weights: Tensor, inputs: Sequence[Tensor] | None = None, *, keep: bool = False
    ) -> None:
        roots, seeds = self._seeds(weights)
        if not roots or (inputs is not None and not inputs):
            return
        if not self.features.detached:
            torch.autograd.backward(roots, seeds, retain_graph=keep, inputs=inputs)
            return
        leaves = self.features.inputs
        for leaf in leaves:
            leaf.grad = None
        first = None if inputs is None else [*leaves, *inputs]
        torch.autograd.backward(roots, seeds, retain_graph=keep, inputs=first)
        pairs = zip(self.features.outputs, leaves, strict=True)
        reached = [(output, leaf.grad) for output, leaf in pairs if leaf.grad is not None]
        below = inputs is None or any(p in self._below for p in inputs)
        if reached and below:
            outputs, cotangents = zip(*reached, strict=True)
            torch.autograd.backward(outputs, cotangents, retain_graph=keep, inputs=inputs)

    @cached_property
    def _below(self) -> set[Parameter]:
        return {self.layout.shared[i] for i in self.layout.below}

    def _differentiate(self, weights: Tensor) -> Row:
        """The weighted gradient on the shared parameters, nothing accumulated."""
        self.refuse_hidden()
        roots, seeds = self._seeds(weights)
        beside = [self.layout.shared[i] for i in self.layout.beside]
        wanted = [*self.features.inputs, *beside]
        if not roots or not wanted:
            return [None] * len(self.layout.shared)
        grads = gradients(roots, wanted, seeds)
        cut = len(self.features.inputs)
        below = self.through_encoder([list(grads[:cut])], Plan(1))[0]
        return add_rows(below, self.spread(self.layout.beside, list(grads[cut:])))


class ParameterRows(Live):
    """Rows are gradients with respect to the shared parameters."""

    @cached_property
    def former(self) -> RowFormer:
        """The way rows are formed."""
        return _FORMERS[self.layout.plan.way](self)

    @cached_property
    @without_autocast
    def rows(self) -> list[Row]:
        """One row per task: through its head, then through the encoder."""
        return self.former.rows()

    @property
    def whole(self) -> bool:
        """Whether the rows were asked for themselves."""
        return "rows" in self.__dict__

    @cached_property
    @without_autocast
    def gramian(self) -> Tensor:
        """Inner products of the rows, ``(m, m)``."""
        product = gramian_of_rows(self.rows) if self.whole else self.former.gramian()
        return checked(product, self.names)

    @without_autocast
    def cross(self, other: Evaluation) -> Tensor:
        """Inner products with the rows of another batch."""
        if other is not self and isinstance(other, ParameterRows):
            found = self.former.cross(other.former)
            if found is not None:
                return found
            return self._cross(other)
        return super().cross(other)

    def _cross(self, other: ParameterRows) -> Tensor:
        """Products over the parameters that both have: the networks may have changed between."""
        theirs = {p: i for i, p in enumerate(other.layout.shared)}
        both = [(i, theirs[p]) for i, p in enumerate(self.layout.shared) if p in theirs]
        return products_of_rows(
            [[row[i] for i, _ in both] for row in self.rows],
            [[row[k] for _, k in both] for row in other.rows],
        )

    @property
    def places(self) -> Sequence[int]:
        """Places of the trainable shared parameters among all shared ones."""
        return self.layout.places or range(len(self.layout.shared))

    def task_gradients(self) -> tuple[Sequence[Parameter], list[Row]]:
        """The shared parameters and the rows."""
        return self.layout.shared, self.rows

    @property
    def _columns(self) -> Sequence[Tensor]:
        return self.layout.shared

    def _combine(self, weights: Tensor) -> Row:
        return combine_rows(self.rows, weights) if self.whole else self.former.combine(weights)

    @without_autocast
    def assign(self, direction: Tensor) -> None:
        """Accumulate a direction on the shared parameters; heads get their own gradient."""
        _ = self.through_heads
        accumulate_flat(self.layout.shared, direction)
        self._accumulate_private(None)


class RepresentationRows(Live):
    """Rows are gradients with respect to the representation, flat over batch and features.

    As MGDA-UB has it (Sener & Koltun, NeurIPS 2018). The direction is one backward pass through the
    encoder with the weighted sum of rows, plus the weighted gradients of shared parameters that
    losses reach without the representation.
    """

    @property
    def rows(self) -> list[Row]:
        """One row per task: through its head only."""
        return [cotangents for cotangents, _, _ in self.through_heads]

    @property
    def _columns(self) -> Sequence[Tensor]:
        return self.features.inputs

    def _combine(self, weights: Tensor) -> Row:
        return self._pull(combine_rows(self.rows, weights), weights)

    @without_autocast
    def assign(self, direction: Tensor) -> None:
        """Pull a direction in representation space back to the shared parameters."""
        pieces = direction.split([numbers(x) for x in self.features.inputs])
        cotangents: Row = [
            shaped(piece, x) for piece, x in zip(pieces, self.features.inputs, strict=True)
        ]
        accumulate_row(self.layout.shared, self._pull(cotangents, torch.ones(len(self.names))))
        self._accumulate_private(None)


class DirectRows(Live):
    """Rows are gradients beside the representation only; the direction is the whole gradient.

    What the representation brings is pulled back once, for the weighted sum.
    """

    @cached_property
    @without_autocast
    def rows(self) -> list[Row]:
        """One row per task: what it reaches without the representation."""
        return [self.spread(self.layout.beside, row) for _, row, _ in self.through_heads]

    @property
    def _columns(self) -> Sequence[Tensor]:
        return self.layout.shared

    def _combine(self, weights: Tensor) -> Row:
        return self._pull(combine_rows([c for c, _, _ in self.through_heads], weights), weights)

    @without_autocast
    def assign(self, direction: Tensor) -> None:
        """Accumulate a direction on the shared parameters as it is; heads get their own."""
        accumulate_flat(self.layout.shared, direction)
        self._accumulate_private(None)


def accumulate_row(parameters: Sequence[Tensor], row: Row) -> None:
    """Add a row to the ``.grad`` of parameters, in order."""
    for parameter, gradient in zip(parameters, row, strict=True):
        if gradient is not None:
            accumulate(parameter, gradient)
