"""Single-loop implicit differentiation: the adjoints are tracked, not solved for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from moml._support import checks
from moml.bilevel.hypergradient._base import Certificate, LowerSolution
from moml.bilevel.hypergradient._implicit import Hessian, Implicit, relative_residual


class SOBA(Implicit):
    r"""One step on each objective's linear system per upper step, from where the last one ended.

    :math:`v_k \leftarrow v_k - \rho (H v_k - \partial_\theta F_k)`: lower variables, adjoints and
    upper parameters move together, each by one step (Dagréou, Ablin, Vaiter & Moreau, `A framework
    for bilevel optimization that enables stochastic and global variance reduction algorithms
    <https://arxiv.org/abs/2201.13409>`_, NeurIPS 2022; with several objectives gMOBA, `arXiv
    2406.05455 <https://arxiv.org/abs/2406.05455>`_). Use with ``warm_start=True`` and one lower
    step. Cost: one batched Hessian-vector product. The hypergradient is wrong at first and right in
    the limit, if upper steps are small next to :math:`\rho` and the lower rate.

    Args:
        rate: The step :math:`\rho`, below twice the inverse of the Hessian's largest eigenvalue.
        steps: Steps on the linear systems per upper step.
    """

    def __init__(self, rate: float = 0.1, *, steps: int = 1) -> None:
        super().__init__(on_invalid="ignore")
        checks.number("rate", rate, above=0)
        checks.whole("steps", steps, least=1)
        self.rate, self.steps = rate, steps
        # By number of systems: all objectives', or that of their weighted sum.
        self._adjoints: dict[int, Tensor] = {}
        self._next: dict[int, Tensor] = {}

    def _systems(
        self, hessian: Hessian, right: Tensor, solution: LowerSolution
    ) -> tuple[Tensor, Certificate]:
        known = self._adjoints.get(right.shape[1])
        v = right.new_zeros(right.shape) if known is None else known
        residual = right
        for _ in range(self.steps):
            residual = right - hessian(v)
            v = v + self.rate * residual
        self._next[right.shape[1]] = v
        return v, Certificate(0.0, relative_residual(residual, right))

    def advance(self) -> None:
        """Keep the adjoints."""
        self._adjoints.update(self._next)

    def state_dict(self) -> dict[str, Any]:
        """Also the adjoints."""
        return {**super().state_dict(), "adjoints": dict(self._adjoints)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        super().load_state_dict(state)
        self._adjoints, self._next = dict(state["adjoints"]), {}
