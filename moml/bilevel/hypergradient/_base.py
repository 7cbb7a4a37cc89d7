r"""How the lower solution depends on the upper parameters.

An upper objective's gradient is :math:`\partial_\omega F_k + (d\theta/d\omega)^\top
\partial_\theta F_k`. The first term and :math:`\partial_\theta F_k` are plain backpropagation; a
hypergradient method is a way to multiply by :math:`(d\theta/d\omega)^\top`.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, final

import torch
from torch import Tensor

from moml.bilevel._lower import LowerLevel, Tensors, fresh
from moml.bilevel.inner import InnerSolver
from moml.gradients.fast_ways import FastWays
from moml.gradients.graph import reach
from moml.gradients.live import Live
from moml.gradients.rows import Plan, Row, form_rows
from moml.problem import Losses

# Operations whose second derivatives have no efficient batched form.
_LOOPED = re.compile("Convolution|BatchNorm|LayerNorm|GroupNorm|Pool|Unfold|Im2Col|Embedding")


@dataclass(frozen=True)
class Certificate:
    """How far the assumptions of a hypergradient held in one step.

    Attributes:
        lower_residual: Norm of the lower loss's gradient at the solution.
        linear_residual: Largest residual of the linear systems with the Hessian itself, relative to
            their right-hand sides.
        negative_curvature: Whether a direction of non-positive curvature of the lower loss was met.
        products: Rounds of Hessian-vector products.
    """

    lower_residual: float
    linear_residual: float = 0.0
    negative_curvature: bool = False
    products: int = 0


@dataclass
class LowerSolution:
    """What the upper level sees of the lower one, and what pulling back through it needs.

    Attributes:
        lower: The lower level.
        start: Where it started, with a graph to the upper parameters if it is a function of them.
        points: Detached leaves at which upper objectives are evaluated, one list per step looked
            at.
        looks: After which lower step each of them is, and the weight of the objectives there.
        theta: Lower variables after the last step, detached.
        trace: What the method keeps for `Hypergradient.pull`.
        certificate: Filled in where a method has one.
        direction: Along which the lower variables should fall, where a method moves them itself;
            filled in when the upper gradient is written.
    """

    lower: LowerLevel
    start: Tensors
    points: list[Tensors]
    looks: dict[int, float]
    theta: Tensors
    trace: Any = None
    certificate: Certificate | None = field(default=None)
    direction: Tensors | None = None

    @property
    def omega(self) -> Tensors:
        """The upper parameters."""
        return list(self.lower.omega.values())

    def outcome(self) -> LowerSolution:
        """What was found, without the graphs and states that only pulling back needs."""
        return replace(self, start=[], points=[], trace=None)


class Hypergradient(ABC):
    """A way to differentiate the lower solution; all objectives share one lower solve."""

    moves_lower: ClassVar[bool] = False
    """Whether the lower variables move along with the upper ones, not by the lower loss alone."""

    def __init__(self) -> None:
        self._batched: bool | None = None
        self._ways = FastWays()

    @final
    def solve(
        self, lower: LowerLevel, inner: InnerSolver, start: Sequence[Tensor]
    ) -> LowerSolution:
        """Solve the lower level, keeping what `pull` needs.

        Args:
            lower: The lower level.
            inner: Its solver.
            start: Where it starts.
        """
        # Aliases: the start may be an upper parameter itself, of which the lower loss is a function
        # too (a proximal term); its gradient is with respect to the lower variable only.
        attached = [t.view_as(t) if t.requires_grad else t.detach() for t in start]
        with torch.enable_grad():
            return self._solve(lower, inner, attached)

    @abstractmethod
    def _solve(self, lower: LowerLevel, inner: InnerSolver, start: Tensors) -> LowerSolution:
        """The solution; ``start`` may have a graph."""

    @abstractmethod
    def pull(self, solution: LowerSolution, cotangents: Sequence[Row]) -> list[Row]:
        """Products with the transposed derivative of the lower solution.

        Args:
            solution: What `solve` returned.
            cotangents: Per objective, its gradient with respect to every tensor of
                ``solution.points``, point after point.

        Returns:
            Per objective, a tensor per upper parameter; ``None`` where there is no path.
        """

    def evaluate(
        self, losses: Losses, solutions: Sequence[LowerSolution], tasks: Tensor
    ) -> Live | None:
        """The step's evaluation, for methods that look at more than rows pulled back.

        Args:
            losses: The upper objectives.
            solutions: Of the step, one per episode.
            tasks: Position of each objective among all.

        Returns:
            ``None`` to let the oracle pull back.
        """
        return None

    def advance(self) -> None:
        """After the step: methods that track a linear system move on."""
        return

    def state_dict(self) -> dict[str, Any]:
        """What a resumed run needs."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        return

    def _back(
        self, outputs: Sequence[Tensor], inputs: Sequence[Tensor], cotangents: Sequence[Row]
    ) -> list[Row]:
        """Pull cotangents back through a graph, all at once where that is efficient."""
        live = [i for i, output in enumerate(outputs) if output.requires_grad]
        if not live:
            return [[None] * len(inputs) for _ in cotangents]
        outputs = [outputs[i] for i in live]
        rows = [[row[i] for i in live] for row in cotangents]
        if self._batched is None and len(rows) > 1:
            self._batched = not any(map(_LOOPED.search, reach(outputs).nodes))
        many = len(rows) > 1 and bool(self._batched)
        return self._ways.form(
            lambda plan: form_rows(outputs, inputs, rows, plan),
            Plan(len(rows) if many else 1),
            trusted=True,  # nothing may be looked at while a step is traced
        )


def looks(lower: LowerLevel, inner: InnerSolver) -> dict[int, float]:
    """After which lower steps the upper level looks, in order, and with what weight.

    Raises:
        ValueError: If it looks never, or outside of the steps taken.
    """
    weights = lower.problem.step_weights(inner.steps)
    if not weights or min(weights) < 0 or max(weights) > inner.steps:
        raise ValueError(
            f"`step_weights` should name steps between 0 and {inner.steps}, found {dict(weights)}."
        )
    return dict(sorted(weights.items()))


def require_plain_look(lower: LowerLevel, inner: InnerSolver, method: str) -> None:
    """Whether the upper level looks after the last step only.

    Raises:
        ValueError: If not.
    """
    found = looks(lower, inner)
    if found != {inner.steps: 1.0}:
        raise ValueError(
            f"`step_weights` should look after the last step only with {method}, found {found}. "
            "Use Unrolled or Checkpointed."
        )


def solved(
    lower: LowerLevel, start: Tensors, theta: Sequence[Tensor], steps: int, trace: Any = None
) -> LowerSolution:
    """A solution that is looked at after the last step."""
    return LowerSolution(
        lower, start, [fresh(theta)], {steps: 1.0}, [t.detach() for t in theta], trace=trace
    )


def flat(rows: Sequence[Row], like: Sequence[Tensor]) -> Tensor:  # (K, p)
    """Rows as a matrix, zeros for ``None``."""
    return torch.stack(
        [
            torch.cat(
                [
                    (torch.zeros_like(x) if g is None else g).reshape(-1)
                    for g, x in zip(row, like, strict=True)
                ]
            )
            for row in rows
        ]
    )


def unflat(matrix: Tensor, like: Sequence[Tensor]) -> list[Row]:
    """A matrix ``(K, p)`` as rows."""
    sizes = [x.numel() for x in like]
    return [
        [piece.view(x.shape) for piece, x in zip(row.split(sizes), like, strict=True)]
        for row in matrix
    ]
