"""The lower solution as a representation: what lies between upper parameters and objectives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from moml.bilevel.hypergradient import Hypergradient, LowerSolution
from moml.gradients.features import Features
from moml.gradients.rows import Plan, Row, add_rows


@dataclass(frozen=True, kw_only=True)
class Solved(Features):
    """Lower solutions of one step's episodes, pulled back by a hypergradient method.

    Objectives see the upper parameters through the lower solutions as a network's losses see its
    encoder through the representation: everything that weighs representations works here too.

    Attributes:
        hypergradient: The method.
        solutions: One per episode.
        direct: Whether objectives also depend on the upper parameters directly.
    """

    hypergradient: Hypergradient
    solutions: tuple[LowerSolution, ...]
    direct: bool

    @classmethod
    def by(
        cls, hypergradient: Hypergradient, solutions: Sequence[LowerSolution], *, direct: bool
    ) -> Solved:
        """Solutions as the leaves that objectives were computed from."""
        points = [t for s in solutions for point in s.points for t in point]
        leaves = tuple(t for t in points if t.requires_grad)
        if not direct and not leaves:
            raise ValueError(_no_path(hypergradient))
        return cls(
            outputs=leaves,
            inputs=leaves,
            detached=True,
            hypergradient=hypergradient,
            solutions=tuple(solutions),
            direct=direct,
        )

    @property
    def backpropagates(self) -> bool:
        """The way down is the hypergradient's."""
        return False

    def pull(self, cotangents: Sequence[Row], inputs: Sequence[Tensor], plan: Plan) -> list[Row]:
        """Hypergradients on the upper parameters, added up over episodes."""
        total: list[Row] = [[None] * len(inputs) for _ in cotangents]
        position = 0
        for solution in self.solutions:
            size = sum(t.requires_grad for point in solution.points for t in point)
            if size == 0:  # the method needs no gradient there
                continue
            own = [row[position : position + size] for row in cotangents]
            position += size
            if all(g is None for row in own for g in row):
                continue
            rows = self.hypergradient.pull(solution, own)
            total = [add_rows(a, b) for a, b in zip(total, rows, strict=True)]
        if not self.direct and all(g is None for row in total for g in row):
            raise ValueError(_no_path(self.hypergradient))
        return total


def _no_path(hypergradient: Hypergradient) -> str:
    return (
        "The objectives should depend on the upper parameters, found no path to any of them. "
        "The lower loss or its start must be a function of the `omega` it is given, and "
        f"{type(hypergradient).__name__} must follow that path: FirstOrder sees the start only, "
        "Truncated and implicit methods the lower loss only."
    )
