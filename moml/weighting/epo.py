"""Exact Pareto optimal search: the Pareto point where preference-weighted losses are equal."""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
import torch
from scipy.optimize import linprog
from torch import Tensor

from moml._support import checks
from moml.weighting._base import GramianWeighting
from moml.weighting._gramian import Array, single
from moml.weighting._positive import nonnegative_losses
from moml.weighting._preference import Preference, given_per_task, preference_of, present_preference

Descent = Literal["restricted", "relaxed"]

_SMALLEST = 1e-3  # a preference below counts as this: with zero the anchor has no direction


class EPO(GramianWeighting):
    r"""Weights that first make preference-weighted losses equal, then descend on all together.

    Mahapatra & Rajan, `Multi-Task Learning with User Preferences: Gradient Descent with Controlled
    Ascent in Pareto Optimization <https://proceedings.mlr.press/v119/mahapatra20a.html>`_, ICML
    2020. With :math:`\hat l_i = r_i L_i / \sum_j r_j L_j` the non-uniformity is :math:`\mu = \sum_i
    \hat l_i \log(m \hat l_i)` and the anchor :math:`a_i = r_i (\log(m \hat l_i) - \mu)`. Weights
    solve a linear program on the Gramian: while :math:`\mu > \varepsilon` they maximise
    :math:`w^\top G a`, where no loss with the largest :math:`r_i L_i` may rise (and none at all
    that already falls by the anchor's direction must); otherwise :math:`w^\top G 1` with no loss
    rising and, restricted, none of the anchor's gain lost either, :math:`w^\top G a \ge \min(\max_i
    (G a)_i, 0)`. Losses may rise on the way (controlled ascent). Preferences whose ray misses the
    front end at its nearest end. A loss of zero is the lowest there can be, and no step lowers it:
    the others are balanced as if its task were absent. A negative loss is an error.

    Args:
        preference: Larger means the task's loss should be smaller; equal unless given.
        tolerance: :math:`\varepsilon`.
        descent: ``restricted``, as the authors' default, or ``relaxed``, which may leave the ray
            again on its way down.

    LibMTL, TorchJD: none.
    """

    traits = frozenset({"scale_invariant"})
    paper = "Mahapatra & Rajan, Multi-Task Learning with User Preferences, ICML 2020"
    preference_is = "importance"
    preference: Tensor

    def __init__(
        self,
        *,
        preference: Preference = None,
        tolerance: float = 1e-3,
        descent: Descent = "restricted",
    ) -> None:
        super().__init__()
        self.given = given_per_task(preference, argument="preference")
        self.tolerance = checks.number("tolerance", tolerance, above=0.0)
        self.descent = checks.choice("descent", descent, get_args(Descent))

    def _allocate(self, num_tasks: int) -> None:
        preference = preference_of(self.given, self.names)
        self.register_buffer("preference", preference, persistent=False)

    def weights(
        self, gramian: Tensor, losses: Tensor | None = None, *, tasks: Tensor | None = None
    ) -> Tensor:
        """Weights that sum to the number of tasks, ``(m,)``.

        Raises:
            ValueError: If losses are missing or negative.
        """
        self._check_bound()
        gramian = single(gramian, "EPO")
        if losses is None:
            raise ValueError("`losses` should be given to EPO, found None. It balances them.")
        losses = nonnegative_losses(self, losses, tasks=tasks)
        m = len(losses)
        preference = present_preference(self.preference, m, tasks=tasks).clamp_min(_SMALLEST)
        heights = preference * losses
        scale = gramian.diagonal().max()
        if m == 1 or not scale > 0.0 or not heights.sum() > 0.0:
            return torch.ones(m, dtype=torch.float64)
        weights = self._solve((gramian / scale).numpy(), heights.numpy(), preference.numpy())
        return m * torch.from_numpy(weights)

    def _solve(self, gramian: Array, heights: Array, preference: Array) -> Array:
        m = len(heights)
        shares = np.maximum(heights / heights.sum(), 1e-300)
        logs = np.log(m * shares)
        spread = float(shares @ logs)  # mu
        anchor = preference * (logs - spread)
        gains = gramian @ anchor  # of every loss, along the anchor's direction
        if spread <= self.tolerance:
            bounds, floors = gramian, np.zeros(m)
            if self.descent == "restricted":
                bounds, floors = np.vstack([bounds, gains]), np.append(floors, min(gains.max(), 0))
            return _best(gramian.sum(1), bounds, floors)
        floors = np.zeros(m)
        if (gains > 0.0).any():
            floors = np.where(gains > 0.0, -np.inf, gains)
            floors[heights == heights.max()] = 0.0
        return _best(gains, gramian, floors)


def _best(value: Array, bounds: Array, floors: Array) -> Array:
    """On the simplex, the best ``value @ w`` with ``bounds @ w >= floors``; else equal weights."""
    m = len(value)
    bound = np.isfinite(floors)
    if m == 2:
        return _best_of_two(value, bounds, floors)
    result = linprog(
        -value / max(np.abs(value).max(), 1e-300),
        A_ub=-bounds[bound] if bound.any() else None,
        b_ub=-floors[bound] if bound.any() else None,
        A_eq=np.ones((1, m)), b_eq=[1.0], bounds=(0.0, 1.0), method="highs",
    )  # fmt: skip
    if result.x is None:
        return np.full(m, 1.0 / m)
    weights = np.maximum(result.x, 0.0)
    return np.asarray(weights / weights.sum())


def _best_of_two(value: Array, bounds: Array, floors: Array) -> Array:
    """The same for w = (x, 1 - x): the constraints leave an interval, whose better end is best."""
    slope, offset = bounds[:, 0] - bounds[:, 1], bounds[:, 1]  # slope x + offset >= floor
    ends = (floors - offset) / np.where(slope == 0.0, 1.0, slope)
    low = max(0.0, *ends[slope > 0.0]) if (slope > 0.0).any() else 0.0
    high = min(1.0, *ends[slope < 0.0]) if (slope < 0.0).any() else 1.0
    if low > high or (floors > offset)[slope == 0.0].any():
        return np.array([0.5, 0.5])
    first = high if value[0] > value[1] else low if value[0] < value[1] else 0.5 * (low + high)
    return np.array([first, 1.0 - first])
