r"""What all implicit methods share.

At a stationary point of the lower loss :math:`d\theta/d\omega = -H^{-1}\,\partial^2_{\theta\omega}
f` with the Hessian :math:`H`: a hypergradient costs one linear system per objective and one product
with the mixed derivative, whatever the number of lower steps. Away from one, the formula is wrong.
"""

from __future__ import annotations

import warnings
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from moml._support import checks
from moml.bilevel._lower import LowerLevel, Tensors, fresh
from moml.bilevel.hypergradient._base import (
    Certificate,
    Hypergradient,
    LowerSolution,
    require_plain_look,
    solved,
)
from moml.bilevel.inner import InnerSolver
from moml.gradients.rows import Row

OnInvalid = Literal["warn", "raise", "ignore"]


class Hessian:
    """Products with the lower loss's Hessian, several vectors at a time.

    Vectors are ``(E, K, p)``: K for each of E independent lower levels (1 unless stacked).

    Args:
        leaves: Where it is taken.
        gradient: Gradient of the lower loss there, with a graph.
        blocks: Number E of independent lower levels.
        method: Decides how vectors are batched.
    """

    def __init__(self, leaves: Tensors, gradient: Tensors, blocks: int, method: Implicit) -> None:
        self.leaves, self.gradient, self.method = leaves, gradient, method
        self.blocks, self.size = blocks, sum(x.numel() for x in leaves) // blocks
        self.products = 0

    def __call__(self, vectors: Tensor) -> Tensor:
        """One round of products."""
        self.products += 1
        return self.pack(self.method._back(self.gradient, self.leaves, self.unpack(vectors)))

    def pack(self, rows: Sequence[Row]) -> Tensor:
        """Rows over the leaves as vectors ``(E, K, p)``."""
        columns = [
            torch.stack([torch.zeros_like(x) if row[i] is None else row[i] for row in rows])  # type: ignore[misc]
            for i, x in enumerate(self.leaves)
        ]
        flat = [c.reshape(len(rows), self.blocks, -1) for c in columns]  # (K, E, p_i)
        return torch.cat(flat, dim=2).transpose(0, 1)

    def unpack(self, vectors: Tensor) -> list[Row]:
        """Vectors ``(E, K, p)`` as rows over the leaves."""
        sizes = [x.numel() // self.blocks for x in self.leaves]
        pieces = vectors.transpose(0, 1).split(sizes, dim=2)  # (K, E, p_i)
        columns = [c.reshape(len(c), *x.shape) for c, x in zip(pieces, self.leaves, strict=True)]
        return [[column[k] for column in columns] for k in range(vectors.shape[1])]


class Implicit(Hypergradient):
    """Implicit differentiation; subclasses solve the linear systems.

    Args:
        tolerance: Largest gradient norm of the lower loss at its solution, relative to the one at
            the first start, for which the result counts as valid.
        absolute_tolerance: Gradient norm of the lower loss that is small wherever it started.
        residual_tolerance: Largest residual of the linear systems, relative to their right-hand
            sides, for which the result counts as valid. The systems are those of the Hessian
            itself: what is added to its diagonal counts as an error.
        on_invalid: What to do where it does not, or where a direction of negative curvature is met:
            warn once, raise, or go on; the certificate says it in any case.
    """

    def __init__(
        self,
        *,
        tolerance: float = 0.05,
        absolute_tolerance: float = 1e-6,
        residual_tolerance: float = 0.05,
        on_invalid: OnInvalid = "warn",
    ) -> None:
        super().__init__()
        for name, value in (
            ("tolerance", tolerance),
            ("absolute_tolerance", absolute_tolerance),
            ("residual_tolerance", residual_tolerance),
        ):
            checks.number(name, value, least=0, infinite=True)
        checks.choice("on_invalid", on_invalid, get_args(OnInvalid))
        self.tolerance, self.absolute_tolerance = tolerance, absolute_tolerance
        self.residual_tolerance, self.on_invalid = residual_tolerance, on_invalid
        self._largest, self._warned = 0.0, False

    def _solve(self, lower: LowerLevel, inner: InnerSolver, start: Tensors) -> LowerSolution:
        require_plain_look(lower, inner, type(self).__name__)
        if lower.problem.ascends():
            raise ValueError(
                "The lower level should be a minimisation for implicit differentiation, found "
                "variables that climb (a game). Use Unrolled or Checkpointed."
            )
        begin = fresh(start)
        if self._largest == 0.0:
            gradient = lower.gradient(begin, 0, create_graph=False)
            self._largest = float(torch.stack([g.norm() for g in gradient]).norm())
        state = inner.walk(lower, inner.begin(lower, begin), inner.steps, create_graph=False)
        return solved(lower, start, state.theta, inner.steps, trace=inner)

    def pull(self, solution: LowerSolution, cotangents: Sequence[Row]) -> list[Row]:
        """Solve for the adjoints of all objectives, then one product with the mixed derivative."""
        with torch.enable_grad():
            leaves, gradient = solution.lower.linearise(solution.theta)
        hessian = Hessian(leaves, gradient, solution.lower.blocks, self)
        residual = float(torch.stack([g.detach().norm() for g in gradient]).norm())
        adjoints, found = self._systems(hessian, hessian.pack(cotangents), solution)
        solution.certificate = replace(found, lower_residual=residual, products=hessian.products)
        self._judge(solution.certificate)
        rows = hessian.unpack(-adjoints)
        omega = solution.omega
        if not any(_reaches(g, omega) for g in gradient):
            raise ValueError(
                "The lower gradient should depend on the upper parameters, found no path: implicit "
                "derivatives would all be zero. A lower loss that sees them only through the start "
                "(MAML) needs a proximal term (iMAML), or Unrolled."
            )
        return self._back(gradient, omega, rows)

    @abstractmethod
    def _systems(
        self, hessian: Hessian, right: Tensor, solution: LowerSolution
    ) -> tuple[Tensor, Certificate]:
        """Solve ``hessian(x) = right`` for every vector of ``(E, K, p)``."""

    def state_dict(self) -> dict[str, Any]:
        """The largest gradient norm met at a start."""
        return {"largest": self._largest}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        self._largest = float(state["largest"])

    def _judge(self, certificate: Certificate) -> None:
        complaints = []
        if not certificate.lower_residual <= max(
            self.tolerance * self._largest, self.absolute_tolerance
        ):
            complaints.append(
                "The lower level should be near a stationary point for implicit differentiation, "
                f"found a gradient of norm {certificate.lower_residual:.2g} where the first start "
                f"had {self._largest:.2g}. Take more lower steps, or use Unrolled or Truncated."
            )
        if not certificate.linear_residual <= self.residual_tolerance:
            complaints.append(
                "The linear systems should be solved for implicit differentiation, found a "
                f"residual of {certificate.linear_residual:.2g} where `residual_tolerance` is "
                f"{self.residual_tolerance:.2g}. Take more rounds or terms, a higher rank or less "
                "damping, or raise it."
            )
        if certificate.negative_curvature:
            complaints.append(
                "The lower loss should be convex near its solution for implicit differentiation, "
                "found a direction of non-positive curvature. Add a regulariser, or use Unrolled."
            )
        complaint = " ".join(complaints)
        if not complaint or self.on_invalid == "ignore":
            return
        if self.on_invalid == "raise":
            raise ValueError(complaint)
        if not self._warned:
            self._warned = True
            warnings.warn(complaint, stacklevel=2)


def _reaches(output: Tensor, inputs: Sequence[Tensor]) -> bool:
    from moml.gradients.graph import reach

    known = set(inputs)
    return any(leaf in known for leaf in reach([output]).leaves)


def relative_residual(residual: Tensor, right: Tensor) -> float:  # (E, K, p) both
    """Largest norm of a residual relative to its right-hand side."""
    norms = right.norm(dim=-1)
    scale = torch.where(norms > 0, norms, torch.ones_like(norms))
    return float((residual.norm(dim=-1) / scale).max())
