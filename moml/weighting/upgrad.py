"""Unconflicting projection of gradients: each projected onto the cone where no task loses."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from moml.weighting._base import GramianWeighting
from moml.weighting._cone import projected_weights
from moml.weighting._gramian import Array, solve_each
from moml.weighting._preference import Preference, given_per_task, preference_of, present_preference


class UPGrad(GramianWeighting):
    r"""Weights of the mean of the gradients' projections onto their dual cone.

    Quinton & Rey, `Jacobian Descent for Multi-Objective Optimization
    <https://arxiv.org/abs/2406.16232>`_, 2024. Every gradient is projected onto
    :math:`\{d : g_i^\top d \ge 0 \text{ for all } i\}`, and the projections are averaged: no task
    loses, and a task's influence stays proportional to its gradient's norm. Without conflict it is
    the mean. It vanishes at Pareto-stationary points only.

    Exact, on cosines, at any scale and with norms any factor apart.

    Args:
        preference: Weights of the mean; equal unless given. They are rescaled to sum to 1.

    LibMTL name: ``UPGrad``; TorchJD: ``UPGrad`` (regularised: may conflict where norms differ by
    more than a factor of ten, equals the mean for gradients below 1e-2).
    """

    traits = frozenset(
        {"permutation", "scale_invariant", "linear_under_scaling", "non_conflicting"}
    )
    paper = "Quinton & Rey, Jacobian Descent for Multi-Objective Optimization, 2024"
    preference: Tensor

    def __init__(self, *, preference: Preference = None) -> None:
        super().__init__()
        self.given = given_per_task(preference, argument="preference")

    def _allocate(self, num_tasks: int) -> None:
        preference = preference_of(self.given, self.names)
        self.register_buffer("preference", preference, persistent=False)

    def weights(
        self, gramian: Tensor, losses: Tensor | None = None, *, tasks: Tensor | None = None
    ) -> Tensor:
        """Mean of the projections' weights, ``(*b, m)``."""
        if self.given is not None:
            self._check_bound()
        preference = None if self.given is None else self.preference
        mean = present_preference(preference, gramian.shape[-1], tasks=tasks)
        return solve_each(_mean_projection, gramian, mean=mean.numpy())


def _mean_projection(gramian: Array, *, mean: Array) -> Array:
    return np.asarray(mean @ projected_weights(gramian))
