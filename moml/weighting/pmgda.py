"""Preference-based MGDA: correct towards the preferred ray, then descend along it."""

from __future__ import annotations

import numpy as np
import torch
from scipy.optimize import linprog
from torch import Tensor

from moml._support import checks
from moml.weighting._base import GramianWeighting
from moml.weighting._gramian import Array, even, single
from moml.weighting._min_norm import min_norm_weights
from moml.weighting._preference import Preference, given_per_task, preference_of, rows

_ROUNDING = 1e-14  # of the largest squared norm: a constraint's gradient below is none


class PMGDA(GramianWeighting):
    r"""Weights that predict along the preferred ray, and correct where losses have left it.

    Zhang, Lin & Zhang, `PMGDA: A Preference-based Multiple Gradient Descent Algorithm
    <https://arxiv.org/abs/2402.09492>`_, 2024. With :math:`h = 1 - \cos(L, r)` and its gradient
    :math:`g_h = \sum_i c_i g_i`, :math:`c = \partial h / \partial L`:

    - on the ray (:math:`h \le` ``tolerance``), the minimum-norm point of the gradients in the
      tangent space of h, :math:`\min_{\mu \in \Delta, \nu} |\sum_i \mu_i g_i + \nu g_h|^2`;
    - off the ray, the direction in the hull of all unit gradients, :math:`g_h` among them, that
      makes the largest :math:`\langle g_i, v \rangle` smallest while :math:`h` falls at a share
      ``sigma`` of the steepest rate: a linear program of K + 2 variables.

    Losses may rise on the way to the ray; a ray that misses the front ends near it, not on it. It
    steers by an angle, which losses near zero make noisy.

    Args:
        preference: The ray; losses are to be proportional to it. Equal unless given.
        tolerance: Largest h that counts as on the ray; 1e-4 is 0.8 degrees.
        sigma: Share of the steepest rate at which h falls, in (0, 1].

    LibMTL, TorchJD: none; LibMOON: ``PMGDA``, with plain MGDA on the ray.
    """

    traits = frozenset({"scale_invariant"})
    paper = "Zhang et al., PMGDA: Preference-based Multiple Gradient Descent, 2024"
    preference_is = "ray"
    preference: Tensor

    def __init__(
        self, *, preference: Preference = None, tolerance: float = 1e-4, sigma: float = 0.95
    ) -> None:
        super().__init__()
        self.given = given_per_task(preference, argument="preference")
        self.tolerance = checks.number("tolerance", tolerance, above=0.0)
        self.sigma = checks.number("sigma", sigma, above=0.0, most=1.0)

    def _allocate(self, num_tasks: int) -> None:
        preference = preference_of(self.given, self.names)
        self.register_buffer("preference", preference, persistent=False)

    def weights(
        self, gramian: Tensor, losses: Tensor | None = None, *, tasks: Tensor | None = None
    ) -> Tensor:
        """Weights of the direction, ``(m,)``; negative where a loss should rise.

        Raises:
            ValueError: If losses are missing.
        """
        self._check_bound()
        products = single(gramian, "PMGDA").numpy()
        if losses is None:
            raise ValueError("`losses` should be given to PMGDA, found None. It steers by them.")
        ray = rows(self.preference, tasks).numpy()
        found = self._solve(products, losses.detach().double().cpu().numpy(), ray)
        return torch.from_numpy(even(products, found))

    def _solve(self, gramian: Array, losses: Array, ray: Array) -> Array:
        length, along = np.linalg.norm(losses), np.linalg.norm(ray)
        if len(losses) == 1 or length == 0.0 or along == 0.0:
            return min_norm_weights(gramian)
        cosine = losses @ ray / (length * along)
        slope = (cosine * losses / length - ray / along) / length  # c
        effect = gramian @ slope  # of every loss, along g_h
        square = slope @ effect  # |g_h|^2
        if square * length**2 <= _ROUNDING * gramian.diagonal().max():
            return min_norm_weights(gramian)
        if 1.0 - cosine <= self.tolerance:
            tangent = gramian - np.outer(effect, effect) / square
            np.fill_diagonal(tangent, np.maximum(tangent.diagonal(), 0.0))
            mu = min_norm_weights(tangent)
            return mu - (mu @ effect) / square * slope
        return self._correct(gramian, slope, effect, np.sqrt(square))

    def _correct(self, gramian: Array, slope: Array, effect: Array, steepness: float) -> Array:
        m = len(slope)
        norms = np.sqrt(gramian.diagonal())
        smallest, largest = norms[norms > 0.0].min(), norms.max()
        units = np.hstack([np.diag(1.0 / np.where(norms > 0.0, norms, np.inf)),
                           slope[:, None] / steepness])  # (m, m + 1): unit gradients  # fmt: skip
        slopes = gramian @ units / largest  # of every loss, along each
        falls = effect @ units / steepness  # of h
        result = linprog(
            np.eye(m + 2)[-1],  # variables: simplex (m + 1), then the largest slope
            A_ub=np.vstack([np.hstack([-slopes, -np.ones((m, 1))]), [*-falls, 0.0]]),
            b_ub=[*np.zeros(m), -self.sigma],
            A_eq=[[*np.ones(m + 1), 0.0]], b_eq=[1.0],
            bounds=[(0.0, 1.0)] * (m + 1) + [(None, None)], method="highs",
        )  # fmt: skip
        mu = np.eye(m + 1)[-1] if result.x is None else np.maximum(result.x[:-1], 0.0)
        return np.asarray(smallest * (units @ mu))
