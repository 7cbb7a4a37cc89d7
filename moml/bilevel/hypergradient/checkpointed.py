"""Reverse-mode differentiation that recomputes lower steps instead of keeping their graphs."""

from __future__ import annotations

from collections.abc import Container, Sequence
from dataclasses import dataclass
from math import ceil, sqrt
from typing import Any

import torch
from torch.utils import _pytree as pytree

from moml._support import checks
from moml._support.random_state import random_state, replayed
from moml.bilevel._lower import LowerLevel, Tensors, fresh
from moml.bilevel.hypergradient._base import Hypergradient, LowerSolution, looks
from moml.bilevel.inner import InnerSolver, InnerState
from moml.gradients.rows import Row, add_rows


class Checkpointed(Hypergradient):
    """The exact derivative of T lower steps in the memory of a few.

    The lower level is solved without a graph, keeping every ``segment``-th state; going backwards
    each segment is run again with its graph, but for the last one, whose graph is there already.
    The same numbers as `Unrolled` at the cost of almost one more lower solve, with memory for
    ``segment`` graphs and ``T / segment`` states. Upper parameters must not change in between. What
    is drawn from PyTorch's global generators (dropout) is drawn again; a lower loss that draws from
    generators of its own must see to that itself.

    Args:
        segment: Steps per segment; twice the root of T unless given. About the root takes least
            memory, longer ones less time.
    """

    def __init__(self, segment: int | None = None) -> None:
        super().__init__()
        if segment is not None:
            checks.whole("segment", segment, least=1)
        self.segment = segment

    def _solve(self, lower: LowerLevel, inner: InnerSolver, start: Tensors) -> LowerSolution:
        length = self.segment or max(1, ceil(2 * sqrt(inner.steps)))
        weights = looks(lower, inner)
        state = inner.begin(lower, fresh(start))
        kept, seen = [], {0: fresh(start)}

        def look(state: InnerState) -> None:
            if state.step in weights:
                seen[state.step] = fresh(state.theta)

        draws = []
        while (ahead := inner.steps - state.step - length) > 0:
            kept.append(state)
            draws.append(random_state())
            # a shorter segment is the first one: the last saves a second run
            steps = ahead % length or length
            state = inner.walk(lower, state, steps, create_graph=False, look=look)
        kept.append(state)
        draws.append(random_state())
        last = _record(inner, lower, state, inner.steps, weights)
        seen.update({step: fresh(theta) for step, theta in last.seen.items()})
        return LowerSolution(
            lower,
            start,
            [seen[step] for step in weights],
            weights,
            [t.detach() for t in last.theta],
            trace=(inner, kept, draws, [last]),
        )

    def pull(self, solution: LowerSolution, cotangents: Sequence[Row]) -> list[Row]:
        """Segment after segment, from the last to the first."""
        inner, kept, draws, recorded = solution.trace
        lower, omega, p = solution.lower, solution.omega, len(solution.start)
        at = {
            step: [row[i * p : (i + 1) * p] for row in cotangents]
            for i, step in enumerate(solution.looks)
        }
        adjoint: list[Row] = [[None] * p for _ in cotangents]
        total: list[Row] = [[None] * len(omega) for _ in cotangents]
        end = inner.steps
        for state, drawn in zip(reversed(kept), reversed(draws), strict=True):
            # taken out, so that nothing holds a segment's graph when the next one is built
            if recorded:
                segment = recorded.pop()
            else:
                with replayed(drawn):
                    segment = _record(inner, lower, state, end, at)
            adjoint, above = self._through(segment, omega, at, adjoint)
            total = [add_rows(a, b) for a, b in zip(total, above, strict=True)]
            end = state.step
            del segment
        starts = [row[:p] for row in adjoint]
        if 0 in at:
            starts = [add_rows(a, b) for a, b in zip(starts, at[0], strict=True)]
        through = self._back(solution.start, omega, starts)
        return [add_rows(a, b) for a, b in zip(total, through, strict=True)]

    def _through(
        self, segment: _Segment, omega: Tensors, at: dict[int, list[Row]], adjoint: list[Row]
    ) -> tuple[list[Row], list[Row]]:
        """Cotangents of a segment's first state and of the upper parameters."""
        outputs = [*segment.theta, *segment.slots]
        blank: Row = [None] * len(outputs)
        seeds = [[*row, *blank[len(row) :]] for row in adjoint]
        for step, theta in segment.seen.items():
            outputs += theta
            seeds = [[*seed, *row] for seed, row in zip(seeds, at[step], strict=True)]
        rows = self._back(outputs, [*segment.leaves, *omega], seeds)
        cut = len(segment.leaves)
        return [row[:cut] for row in rows], [row[cut:] for row in rows]


@dataclass(frozen=True)
class _Segment:
    """Lower steps with their graph.

    Attributes:
        leaves: The state they start from, variables first, then slots.
        theta: Variables at their end.
        slots: Differentiable slots at their end.
        seen: Variables after the steps that are looked at.
    """

    leaves: Tensors
    theta: Tensors
    slots: Tensors
    seen: dict[int, Tensors]


def _record(
    inner: InnerSolver, lower: LowerLevel, state: InnerState, end: int, looked: Container[int]
) -> _Segment:
    """Run from a state to the step ``end``."""
    theta = fresh(state.theta)
    parts, spec = pytree.tree_flatten(state.slots)
    parts = [x.detach().requires_grad_() if _differentiable(x) else x for x in parts]
    begin = InnerState(theta, pytree.tree_unflatten(parts, spec), state.step)
    seen: dict[int, Tensors] = {}

    def look(state: InnerState) -> None:
        if state.step in looked:
            seen[state.step] = state.theta

    last = inner.walk(lower, begin, end - state.step, create_graph=True, look=look)
    slots = [x for x in pytree.tree_leaves(last.slots) if _differentiable(x)]
    leaves = [*theta, *filter(_differentiable, parts)]
    return _Segment(leaves, last.theta, slots, seen)


def _differentiable(x: Any) -> bool:
    return isinstance(x, torch.Tensor) and x.is_floating_point()
