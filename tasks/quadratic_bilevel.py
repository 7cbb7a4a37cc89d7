"""Quadratic objectives on two levels, with everything known in closed form."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from scipy.optimize import nnls
from torch import Tensor, nn
from torch.nn import Parameter

from moml.bilevel import BilevelProblem, Params
from moml.data import BilevelBatch
from tasks._upper import Upper

_D = torch.float64


class QuadraticBilevel(BilevelProblem):
    r"""Quadratic objectives on both levels; the Pareto set is a polytope.

    Lower :math:`\tfrac12 w^\top A w - w^\top (B x + c)`, upper :math:`\tfrac12 \|w - a_k\|^2 +
    \tfrac{\mu}{2} \|x - b_k\|^2`. As functions of x all objectives share the Hessian
    :math:`M^\top M + \mu I` with :math:`M = A^{-1} B`, hence the Pareto set is the convex hull of
    their minimisers.

    Args:
        n: Upper variables.
        p: Lower variables.
        objectives: Upper objectives.
        mu: Weight of their direct part.
        kappa: Condition number of the lower level, whose largest eigenvalue is 1.
        seed: Seed of the matrices and of the start.
    """

    def __init__(
        self,
        n: int = 6,
        p: int = 10,
        objectives: int = 3,
        *,
        mu: float = 1.0,
        kappa: float = 4.0,
        seed: int = 0,
    ) -> None:
        generator = torch.Generator().manual_seed(seed)

        def draw(*shape: int) -> Tensor:
            return torch.randn(*shape, generator=generator, dtype=_D)

        basis = torch.linalg.qr(draw(p, p))[0]
        self.A = basis @ torch.diag(torch.linspace(1 / kappa, 1, p, dtype=_D)) @ basis.T
        self.B, self.c = draw(p, n) / n**0.5, draw(p)
        self.a, self.b, self.mu = draw(objectives, p), draw(objectives, n), mu
        self.upper = Upper(x=draw(n))

    @property
    def tasks(self) -> tuple[str, ...]:
        """``F0``, ``F1`` and so on."""
        return tuple(f"F{k}" for k in range(len(self.a)))

    @property
    def module(self) -> nn.Module:
        """Holds x."""
        return self.upper

    @property
    def x(self) -> Tensor:
        """The upper variables."""
        return self.upper.values["x"].detach()

    def upper_parameters(self) -> dict[str, Parameter]:
        """X."""
        return dict(self.upper.values.items())

    def lower_init(
        self, omega: Mapping[str, Tensor], batch: BilevelBatch, previous: Params | None
    ) -> Params:
        """Zero, or where the lower level was left."""
        return previous or {"w": torch.zeros_like(self.c)}

    def lower_loss(self, theta: Params, omega: Mapping[str, Tensor], batch: Any) -> Tensor:
        """The lower quadratic."""
        w = theta["w"]
        return 0.5 * w @ self.A @ w - w @ (self.B @ omega["x"] + self.c)

    def upper_losses(
        self, theta: Params, omega: Mapping[str, Tensor], batch: Any
    ) -> dict[str, Tensor]:
        """The upper quadratics."""
        below = (theta["w"] - self.a).square().sum(1) / 2
        direct = self.mu * (omega["x"] - self.b).square().sum(1) / 2
        return {name: below[k] + direct[k] for k, name in enumerate(self.tasks)}

    # Closed forms ------------------------------------------------------------------------------

    def hypergradients(self) -> Tensor:
        """At the lower optimum, ``(m, n)``."""
        w = torch.linalg.solve(self.A, self.B @ self.x + self.c)
        return self._rows(w, torch.linalg.solve(self.A, self.B))

    def unrolled(self, steps: int, rate: float, *, differentiated: int | None = None) -> Tensor:
        """After gradient descent from zero, ``(m, n)``; of its last steps only, if given."""
        inverse = torch.linalg.inv(self.A)
        w = self._progress(steps, rate) @ inverse @ (self.B @ self.x + self.c)
        derivative = self._progress(differentiated or steps, rate) @ inverse @ self.B
        return self._rows(w, derivative)

    def values(self, x: Tensor) -> Tensor:
        """The upper objectives at the lower optimum, ``(m,)``."""
        w = torch.linalg.solve(self.A, self.B @ x + self.c)
        losses = self.upper_losses({"w": w}, {"x": x}, None)
        return torch.stack(list(losses.values()))

    def curvature(self) -> Tensor:
        """Hessian of the upper objectives as functions of x, ``(n, n)``."""
        m = torch.linalg.solve(self.A, self.B)
        return m.T @ m + self.mu * torch.eye(m.shape[1], dtype=_D)

    def minimisers(self) -> Tensor:
        """Of each objective, ``(m, n)``: the corners of the Pareto set."""
        m, d = torch.linalg.solve(self.A, self.B), torch.linalg.solve(self.A, self.c)
        right = (self.a - d) @ m + self.mu * self.b
        return torch.linalg.solve(self.curvature(), right.T).T

    def diameter(self) -> float:
        """Largest distance between two corners of the Pareto set."""
        return float(torch.cdist(self.minimisers(), self.minimisers()).max())

    def distance(self, x: Tensor) -> float:
        """Distance of x to the Pareto set, over the set's diameter."""
        corners, heavy = self.minimisers().numpy(), 1e4 * self.diameter()
        system = np.vstack([corners.T, np.full(len(corners), heavy)])
        weights, _ = nnls(system, np.append(x.numpy(), heavy))
        return float(np.linalg.norm(weights @ corners - x.numpy()) / self.diameter())

    def _progress(self, steps: int, rate: float) -> Tensor:
        unit = torch.eye(len(self.A), dtype=_D)
        return unit - torch.linalg.matrix_power(unit - rate * self.A, steps)

    def _rows(self, w: Tensor, derivative: Tensor) -> Tensor:
        return self.mu * (self.x - self.b) + (w - self.a) @ derivative
