"""Implicit differentiation with a low-rank Hessian."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from moml._support import checks
from moml.bilevel.hypergradient._base import Certificate, LowerSolution
from moml.bilevel.hypergradient._implicit import (
    Hessian,
    Implicit,
    OnInvalid,
    relative_residual,
)


class Nystrom(Implicit):
    r"""The inverse of a Nyström approximation of the Hessian, one sketch for all objectives.

    :math:`H \approx Y (\Omega^\top Y)^{-1} Y^\top` with :math:`Y = H\Omega` for ``rank`` random
    directions :math:`\Omega`, inverted with damping by Woodbury's formula. Hataya & Yamada,
    `Nyström Method for Accurate and Scalable Implicit Differentiation
    <https://arxiv.org/abs/2302.09726>`_, AISTATS 2023 (there :math:`\Omega` are columns of the
    identity). One round of products whatever the number of objectives. Exact for Hessians of rank
    at most ``rank`` as the damping goes to zero; directions outside the sketch are divided by the
    damping.

    Args:
        rank: Number of directions.
        damping: Added to the Hessian's diagonal.
        seed: Seed of the directions.
        tolerance: See `Implicit`.
        absolute_tolerance: See `Implicit`.
        residual_tolerance: See `Implicit`.
        on_invalid: See `Implicit`.
    """

    def __init__(
        self,
        rank: int = 10,
        *,
        damping: float = 1e-2,
        seed: int = 0,
        tolerance: float = 0.05,
        absolute_tolerance: float = 1e-6,
        residual_tolerance: float = 0.05,
        on_invalid: OnInvalid = "warn",
    ) -> None:
        super().__init__(
            tolerance=tolerance,
            absolute_tolerance=absolute_tolerance,
            residual_tolerance=residual_tolerance,
            on_invalid=on_invalid,
        )
        checks.whole("rank", rank, least=1)
        checks.number("damping", damping, above=0)
        self.rank, self.damping = rank, damping
        self.generator = torch.Generator().manual_seed(checks.seed(seed))

    def _systems(
        self, hessian: Hessian, right: Tensor, solution: LowerSolution
    ) -> tuple[Tensor, Certificate]:
        rank = min(self.rank, hessian.size)
        drawn = torch.randn(hessian.size, rank, generator=self.generator, dtype=torch.float64)
        basis = torch.linalg.qr(drawn)[0].to(right).expand(hessian.blocks, -1, -1)  # (E, p, r)
        sketch = hessian(basis.mT).mT  # (E, p, r)
        core = basis.mT @ sketch  # (E, r, r)
        core = ((core + core.mT) / 2).double().cpu()
        wide, image = sketch.double().cpu(), (right @ sketch).double().cpu()  # (E, K, r)
        inner = self.damping * core + wide.mT @ wide
        # Not `lstsq`: its pivots start from memory that was never written, so its bits vary.
        weights = (image @ torch.linalg.pinv(inner, hermitian=True)).to(right)
        x = (right - weights @ sketch.mT) / self.damping
        smallest = torch.linalg.eigvalsh(core)[..., 0]
        negative = bool((smallest < -1e-6 * core.norm(dim=(-2, -1))).any())
        left = right - hessian(x)
        return x, Certificate(0.0, relative_residual(left, right), negative)

    def state_dict(self) -> dict[str, Any]:
        """Also the generator of the directions."""
        return {**super().state_dict(), "generator": self.generator.get_state()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        super().load_state_dict(state)
        self.generator.set_state(state["generator"])
