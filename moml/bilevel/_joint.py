"""Rows with respect to both levels' variables, and the lower level as a constraint."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from moml._support.random_state import random_state, replayed
from moml.errors import NonFiniteError
from moml.gradients.features import Features
from moml.gradients.layout import Layout
from moml.gradients.live import ParameterRows, accumulate_row
from moml.gradients.rows import Plan, Row, add_rows, combine_rows, gramian_of_rows
from moml.gradients.task_gradients import Heads, checked

if TYPE_CHECKING:
    from moml.bilevel.hypergradient import LowerSolution


class JointRows(ParameterRows):
    r"""Objectives as functions of :math:`z = (\omega, \theta)` under :math:`q(z) \le 0`.

    Whatever is applied gets :math:`\nu \nabla q` added, and the lower part of the sum becomes the
    solution's ``direction``.

    Args:
        losses: The objectives at the current lower variables.
        solution: Of the step; its ``trace`` is the end of the lower steps.
        tasks: Position of each objective among all.
        rho: How fast the constraint should fall, relative to its squared gradient.
        step_size: How far along the direction the solution goes.
    """

    def __init__(
        self,
        losses: Mapping[str, Tensor],
        solution: LowerSolution,
        tasks: Tensor,
        *,
        rho: float,
        step_size: float,
    ) -> None:
        self.solution, self.rho, self.step_size = solution, rho, step_size
        self._point = solution.points[0]
        both = (*solution.omega, *self._point)
        layout = Layout(both, {}, (), tuple(range(len(both))), Plan(1))  # type: ignore[arg-type]
        super().__init__(losses, Features(), layout, tasks, heads="weighted")

    # The constraint ---------------------------------------------------------------------------

    @cached_property
    def constraint(self) -> Row:
        r"""Its gradient :math:`\nabla q`, where the end of the lower steps is a constant."""
        lower, end = self.solution.lower, self.solution.trace
        problem, omega = lower.problem, lower.omega
        now, then = lower.named(self._point), lower.named(end)
        with torch.enable_grad():
            gaps = []
            for batch in lower.batches:
                drawn = random_state()
                with replayed(drawn):  # the same dropout masks on both sides
                    end_loss = problem.lower_loss(then, omega, batch)
                gaps.append(problem.training_loss(now, omega, batch) - end_loss)
            gap = torch.stack(gaps).mean()
        if not torch.isfinite(gap):
            raise NonFiniteError("lower loss behind the gradients", self.names)
        return list(torch.autograd.grad(gap, self.layout.shared, allow_unused=True))

    @cached_property
    def _products(self) -> Tensor:
        """Inner products of all rows, the constraint's last, ``(m + 1, m + 1)``."""
        return gramian_of_rows([*self.rows, self.constraint])

    @cached_property
    def gramian(self) -> Tensor:
        """Inner products of the objectives' rows, ``(m, m)``."""
        return checked(self._products[:-1, :-1], self.names)

    @property
    def slopes(self) -> Tensor:
        r""":math:`\langle \nabla q, \nabla F_k \rangle`, ``(m,)``."""
        return self._products[:-1, -1]

    @property
    def steepness(self) -> float:
        r""":math:`\|\nabla q\|^2`; zero where the lower level is stationary."""
        return float(self._products[-1, -1])

    def multiplier(self, direction: Row) -> float:
        r""":math:`\nu = \max(\rho - \langle \nabla q, d \rangle / \|\nabla q\|^2, 0)`."""
        (_, slope), (_, square) = gramian_of_rows([direction, self.constraint]).tolist()
        return max(self.rho - slope / square, 0.0) if square > 0.0 else 0.0

    # What is applied --------------------------------------------------------------------------

    def pullback(self, weights: Tensor) -> Tensor:
        """The joint direction, flat."""
        pairs = zip(self._corrected(self._combined(weights)), self.layout.shared, strict=True)
        return torch.cat([p.new_zeros(p.numel()) if g is None else g.reshape(-1) for g, p in pairs])

    def apply(self, weights: Tensor, *, heads: Heads | None = None) -> None:
        """Write the upper part of the joint direction, keep the lower one."""
        self._descend(self._combined(weights))

    def assign(self, direction: Tensor) -> None:
        """The same for a direction of both levels, to which the constraint's share is added."""
        shared = self.layout.shared
        pieces = direction.split([p.numel() for p in shared])
        self._descend([d.reshape(p.shape) for d, p in zip(pieces, shared, strict=True)])

    def _combined(self, weights: Tensor) -> Row:
        return self._combine(weights) if self.formed else self._differentiate(weights)

    def _corrected(self, direction: Row) -> Row:
        multiplier = self.multiplier(direction)
        if multiplier == 0.0:
            return direction
        return add_rows(
            direction,
            combine_rows([self.constraint], torch.tensor([multiplier], dtype=torch.float64)),
        )

    def _descend(self, direction: Row) -> None:
        upper = len(self.solution.omega)
        if all(g is None for g in (*direction[:upper], *self.constraint[:upper])):
            raise ValueError(
                "The objectives or the lower loss should depend on the upper parameters, found no "
                "path to any of them. Both must be functions of the `omega` they are given."
            )
        accumulate_row(self.layout.shared, self._corrected(direction))
        found = [torch.zeros_like(t) if t.grad is None else t.grad for t in self._point]
        self.solution.direction = found
        self.solution.theta = [
            t.detach().add(d, alpha=-self.step_size)
            for t, d in zip(self._point, found, strict=True)
        ]


def only(solutions: Sequence[LowerSolution]) -> LowerSolution:
    """The step's one lower level.

    Raises:
        ValueError: If there are several.
    """
    if len(solutions) != 1:
        raise ValueError(
            "`episodes` should give one lower level with ValueFunction, which moves its variables, "
            f"found {len(solutions)}. Use Unrolled, or stack the episodes in one."
        )
    return solutions[0]
