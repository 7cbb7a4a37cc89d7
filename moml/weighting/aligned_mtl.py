"""Aligned-MTL: weights that give the system of gradients the condition number one."""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
from torch import Tensor

from moml.weighting._base import GramianWeighting
from moml.weighting._gramian import Array, checked, solve_each

Scale = Literal["min", "median", "rmse"]


class AlignedMTL(GramianWeighting):
    r"""Weights that align the principal components of the gradients, so that none dominates.

    Senushkin et al., `Independent Component Alignment for Multi-Task Learning
    <https://arxiv.org/abs/2305.19000>`_, CVPR 2023. With :math:`G = V \Lambda V^\top` the gradients
    are replaced by the nearest orthogonal system, scaled by :math:`\sqrt\lambda`; the update is
    their mean: :math:`w = \sqrt{\lambda}\, V \Lambda^{-1/2} V^\top 1/m`. Directions in which the
    gradients span nothing are left out, hence it fails to help tasks whose gradients depend
    linearly on the others'.

    Args:
        scale: The common scale: the smallest eigenvalue that is not zero (as in the paper), their
            median, or their mean (``rmse``).

    LibMTL name: ``Aligned_MTL`` (``min``; sum instead of mean); TorchJD: ``AlignedMTL``.
    """

    traits = frozenset({"permutation", "scale_invariant"})
    paper = "Senushkin et al., Independent Component Alignment, CVPR 2023"

    def __init__(self, *, scale: Scale = "min") -> None:
        super().__init__()
        if scale not in get_args(Scale):
            raise ValueError(f"`scale` should be 'min', 'median' or 'rmse', found {scale!r}.")
        self.scale = scale

    def weights(
        self, gramian: Tensor, losses: Tensor | None = None, *, tasks: Tensor | None = None
    ) -> Tensor:
        """Weights ``(*b, m)``; their signs may differ."""
        return solve_each(self._solve, checked(gramian))

    def _solve(self, gramian: Array) -> Array:  # (m, m) -> (m,)
        m = len(gramian)
        values, vectors = np.linalg.eigh(gramian)
        known = values > m * np.finfo(float).eps * values[-1]
        if not known.any():
            return np.full(m, 1 / m)
        values, vectors = values[known], vectors[:, known]
        scale = {"min": values[0], "median": np.median(values), "rmse": values.mean()}[self.scale]
        return vectors @ (np.sqrt(scale / values) * vectors.mean(0))
