"""Reverse-mode differentiation that recomputes lower steps instead of keeping their graphs."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, sqrt
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from moml.bilevel._lower import LowerLevel, Tensors, fresh
from moml.bilevel.hypergradient._base import Hypergradient, LowerSolution, looks
from moml.bilevel.inner import InnerSolver, InnerState
from moml.oracle._rows import Row, add_rows


class Checkpointed(Hypergradient):
    """The exact derivative of T lower steps in the memory of a few.

    The lower level is solved without a graph, keeping every ``segment``-th state; going backwards
    each segment is run again with its graph. The same numbers as `Unrolled` at the cost of one more
    lower solve, with memory for ``segment`` graphs and ``T / segment`` states. Upper parameters
    must not change in between, and a lower loss with random parts must draw the same numbers again.

    Args:
        segment: Steps per segment; about the root of T unless given, where memory is least.
    """

    def __init__(self, segment: int | None = None) -> None:
        super().__init__()
        if segment is not None and segment < 1:
            raise ValueError(f"`segment` should be at least 1, found {segment}.")
        self.segment = segment

    def _solve(self, lower: LowerLevel, inner: InnerSolver, start: Tensors) -> LowerSolution:
        length = self.segment or max(1, ceil(sqrt(inner.steps)))
        weights = looks(lower, inner)
        state = inner.begin(lower, fresh(start))
        kept, points = [], [fresh(start)] if 0 in weights else []

        def look(state: InnerState) -> None:
            if state.step in weights:
                points.append(fresh(state.theta))

        while state.step < inner.steps:
            kept.append(state)
            steps = min(length, inner.steps - state.step)
            state = inner.walk(lower, state, steps, create_graph=False, look=look)
        return LowerSolution(
            lower, start, points, weights, [t.detach() for t in state.theta], (inner, kept)
        )

    def pull(self, solution: LowerSolution, cotangents: Sequence[Row]) -> list[Row]:
        """Segment after segment, from the last to the first."""
        inner, kept = solution.trace
        lower, omega, p = solution.lower, solution.omega, len(solution.start)
        at = {
            step: [row[i * p : (i + 1) * p] for row in cotangents]
            for i, step in enumerate(solution.looks)
        }
        end = inner.steps
        adjoint = _with(at.get(end), [[None] * p for _ in cotangents])
        total: list[Row] = [[None] * len(omega) for _ in cotangents]
        for state in reversed(kept):
            before, above = self._segment(inner, lower, state, end, at, adjoint)
            total = [add_rows(a, b) for a, b in zip(total, above, strict=True)]
            end = state.step
            adjoint = _with(at.get(end), before)
        through = self._back(solution.start, omega, [row[:p] for row in adjoint])
        return [add_rows(a, b) for a, b in zip(total, through, strict=True)]

    def _segment(
        self,
        inner: InnerSolver,
        lower: LowerLevel,
        state: InnerState,
        end: int,
        at: dict[int, list[Row]],
        adjoint: list[Row],
    ) -> tuple[list[Row], list[Row]]:
        """Cotangents of a segment's first state and of the upper parameters.

        On return its graph is gone, before the next one is built.
        """
        begin, leaves = _restart(state)
        outputs, seeds = _outputs(inner, lower, begin, end, at, adjoint)
        rows = self._back(outputs, [*leaves, *lower.omega.values()], seeds)
        cut = len(leaves)
        return [row[:cut] for row in rows], [row[cut:] for row in rows]


def _with(looked: list[Row] | None, adjoint: list[Row]) -> list[Row]:
    """Cotangents of a state, to which those of objectives that look at it are added."""
    if looked is None:
        return adjoint
    return [
        [*add_rows(row[: len(seen)], seen), *row[len(seen) :]]
        for row, seen in zip(adjoint, looked, strict=True)
    ]


def _restart(state: InnerState) -> tuple[InnerState, list[Tensor]]:
    """The same state on fresh leaves, and these: variables first, then slots."""
    theta = fresh(state.theta)
    parts, spec = pytree.tree_flatten(state.slots)
    parts = [x.detach().requires_grad_() if _differentiable(x) else x for x in parts]
    slots = pytree.tree_unflatten(parts, spec)
    leaves = [*theta, *[x for x in parts if _differentiable(x)]]
    return InnerState(theta, slots, state.step), leaves


def _differentiable(x: Any) -> bool:
    return isinstance(x, torch.Tensor) and x.is_floating_point()


def _outputs(
    inner: InnerSolver,
    lower: LowerLevel,
    state: InnerState,
    end: int,
    at: dict[int, list[Row]],
    adjoint: list[Row],
) -> tuple[list[Tensor], list[Row]]:
    """Tensors to pull back from (the segment's end, points looked at inside), and cotangents."""
    outputs: list[Tensor] = []
    seeds: list[Row] = [[] for _ in adjoint]

    def look(state: InnerState) -> None:
        if state.step < end and state.step in at:
            outputs.extend(state.theta)
            for seed, row in zip(seeds, at[state.step], strict=True):
                seed.extend(row)

    last = inner.walk(lower, state, end - state.step, create_graph=True, look=look)
    tensors = [x for x in pytree.tree_leaves(last.slots) if _differentiable(x)]
    outputs = [*last.theta, *tensors, *outputs]
    blank: Row = [None] * (len(last.theta) + len(tensors))
    ends = [[*row, *blank[len(row) :]] for row in adjoint]
    return outputs, [[*a, *b] for a, b in zip(ends, seeds, strict=True)]
