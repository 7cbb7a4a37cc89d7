"""Faster ways to form rows, used where they were seen to give what the plain way gives."""

from __future__ import annotations

import logging
import math
import weakref
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from moml._support import checks
from moml.gradients.rows import Plan, Row

_LOG = logging.getLogger("moml")
_TOLERANCE = 1e-3  # of the norm; float32 sums in another order differ by 1e-6


class FastWays:
    """Ways to form rows that hold on a graph: several tasks' gradients at once, layer by layer.

    Vectorised backward passes run everything on the way under `torch.func.vmap`: operations without
    a batched form, autograd functions of one's own, hooks. The first pass is tried; where it fails,
    or gives other numbers than one task at a time, this graph's rows are formed one by one from
    then on, and the log says so.

    Attributes:
        layers: Whether inner products may be summed over segments.
    """

    def __init__(self) -> None:
        self._loop = False
        self._compared = False
        self.layers = True
        self._layers_compared = False

    def layers_hold(self, found: Sequence[float], plain: Callable[[], Sequence[float]]) -> bool:
        """Compare squared norms summed over segments with those of plain rows, once a graph.

        A hook on what lies between two segments may see only a part of a backward pass.
        """
        if self._layers_compared:
            return True
        squares = plain()
        if any(abs(a - b) > _TOLERANCE * b for a, b in zip(found, squares, strict=True)):
            self.layers = False
            _LOG.warning(
                "Rows are not formed a layer at a time: a hook changes gradients on the way."
            )
            return False
        self._layers_compared = all(0 < square < math.inf for square in squares)
        return True

    def form(self, form: Callable[[Plan], list[Row]], plan: Plan, *, trusted: bool) -> list[Row]:
        """Rows by the plan, or one by one where that cannot be.

        Args:
            form: Forms rows by a plan.
            plan: The plan wished for.
            trusted: All operations on the way are PyTorch's own, with batched forms.
        """
        if plan.size == 1 or self._loop:
            return form(Plan(1, plan.way))
        try:
            rows = form(plan)
        except Exception as error:  # whatever an operation or a hook raises under vmap
            one_by_one = form(Plan(1, plan.way))  # raises what is not vectorising's fault
            self._fall_back(f"{type(error).__name__}: {checks.said(error)}")
            return one_by_one
        if trusted or self._compared:
            return rows
        self._compared = True
        one_by_one = form(Plan(1, plan.way))
        if not all(map(_rows_agree, rows, one_by_one)):
            self._fall_back("its numbers differ from those of one task at a time")
            return one_by_one
        return rows

    def _fall_back(self, why: str) -> None:
        self._loop = True
        _LOG.warning("Rows are formed one task at a time: vectorising failed (%s).", why)


class ProvenLayers:
    """Linear layers whose gradient is known to follow from their inputs and output gradients.

    It does not where a hook on the layer's output changes the gradient. Each layer is compared once
    with plain backpropagation.
    """

    def __init__(self) -> None:
        # By id, which may be that of another weight later.
        self._verdicts: dict[int, tuple[weakref.ref[Tensor], bool]] = {}

    def admits(self, weight: Tensor, bias: Tensor | None) -> bool:
        """Whether a layer may be asked for: no hook on its parameters, nothing found against it."""
        hooked = weight._backward_hooks or (bias is not None and bias._backward_hooks)
        return not hooked and self._verdict(weight) is not False

    def unproven(self, weights: Sequence[Tensor]) -> list[int]:
        """Positions of those that were not compared yet."""
        return [i for i, weight in enumerate(weights) if self._verdict(weight) is None]

    def _verdict(self, weight: Tensor) -> bool | None:
        known = self._verdicts.get(id(weight))
        return known[1] if known is not None and known[0]() is weight else None

    def judge(self, weight: Tensor, found: Row, plain: Row) -> bool:
        """Compare a layer's gradients with those of plain backpropagation.

        Returns:
            Whether they agree. Gradients that are zero or not finite prove nothing.
        """
        if not _rows_agree(found, plain):
            self._verdicts[id(weight)] = weakref.ref(weight), False
            _LOG.warning(
                "The rows of a linear layer with weights of shape %s are formed by plain "
                "backpropagation: a hook changes its gradient.",
                tuple(weight.shape),
            )
            return False
        if any(g is not None and bool(g.any()) for g in plain):
            self._verdicts[id(weight)] = weakref.ref(weight), True
        return True


def _rows_agree(found: Row, plain: Row) -> bool:
    return all(map(_agree, found, plain))


def _agree(found: Tensor | None, plain: Tensor | None) -> bool:
    if found is None or plain is None:
        other = found if plain is None else plain
        return other is None or not bool(other.any())
    norm, difference = torch.linalg.vector_norm(plain), torch.linalg.vector_norm(found - plain)
    return bool(difference <= _TOLERANCE * norm) or not bool(torch.isfinite(norm))
