"""Aligned-MTL: weights that give the system of gradients the condition number one."""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
from torch import Tensor

from moml._support import checks
from moml.weighting._base import GramianWeighting
from moml.weighting._gramian import Array, checked, solve_each
from moml.weighting._preference import Preference, given_per_task, preference_of, present_preference

Scale = Literal["min", "median", "rmse"]


class AlignedMTL(GramianWeighting):
    r"""Weights that align the principal components of the gradients, so that none dominates.

    Senushkin et al., `Independent Component Alignment for Multi-Task Learning
    <https://arxiv.org/abs/2305.19000>`_, CVPR 2023. With :math:`G = V \Lambda V^\top` the gradients
    are replaced by the nearest orthogonal system, scaled by :math:`\sqrt\lambda`; the update is
    their mean: :math:`w = \sqrt{\lambda}\, V \Lambda^{-1/2} V^\top p` with :math:`p_i = 1/m` or the
    preference. Directions in which the
    gradients span nothing are left out, hence it fails to help tasks whose gradients depend
    linearly on the others'.

    Args:
        scale: The common scale: the smallest eigenvalue that is not zero (as in the paper), their
            median (the lower of the two in the middle, as the authors), or their mean (``rmse``).
        preference: Weights of the mean; equal unless given. They are rescaled to sum to 1.

    LibMTL name: ``Aligned_MTL`` (``min``; sum instead of mean); TorchJD: ``AlignedMTL``.
    """

    traits = frozenset({"permutation", "scale_invariant"})
    paper = "Senushkin et al., Independent Component Alignment, CVPR 2023"

    preference: Tensor

    def __init__(self, *, scale: Scale = "min", preference: Preference = None) -> None:
        super().__init__()
        self.scale = checks.choice("scale", scale, get_args(Scale))
        self.given = given_per_task(preference, argument="preference")

    def _allocate(self, num_tasks: int) -> None:
        preference = preference_of(self.given, self.names)
        self.register_buffer("preference", preference, persistent=False)

    def weights(
        self, gramian: Tensor, losses: Tensor | None = None, *, tasks: Tensor | None = None
    ) -> Tensor:
        """Weights ``(*b, m)``; their signs may differ."""
        if self.given is not None:
            self._check_bound()
        preference = None if self.given is None else self.preference
        mean = present_preference(preference, gramian.shape[-1], tasks=tasks)
        return solve_each(self._solve, checked(gramian), mean=mean.numpy())

    def _solve(self, gramian: Array, *, mean: Array) -> Array:
        """Weights ``(m,)`` of the aligned mean."""
        m = len(gramian)
        values, vectors = np.linalg.eigh(gramian)
        known = values > m * np.finfo(float).eps * values[-1]
        if not known.any():
            return mean
        values, vectors = values[known], vectors[:, known]
        middle = values[(len(values) - 1) // 2]
        scale = {"min": values[0], "median": middle, "rmse": values.mean()}[self.scale]
        return np.asarray(vectors @ (np.sqrt(scale / values) * (mean @ vectors)))
