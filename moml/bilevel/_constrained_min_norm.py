r"""The best joint direction under the lower level's constraint, exactly.

The direction :math:`-d` solves :math:`\min_\delta \max_k \langle g_k, \delta \rangle + \tfrac12
\|\delta\|^2` subject to :math:`\langle q, \delta \rangle \le -\rho \|q\|^2`. Its dual is

.. math:: \min_{\lambda \in \Delta, \nu \ge 0} \|\textstyle\sum_k \lambda_k g_k + \nu q\|^2
   - c\, \nu \rho \|q\|^2, \quad c = 2,

with :math:`d = \sum_k \lambda_k g_k + \nu q`. For a given :math:`\lambda` the best multiplier is
:math:`\nu = \max(\pi^\top \lambda, 0)`, :math:`\pi_k = \rho - \langle q, g_k \rangle / \|q\|^2`;
so it is with c = 1, if :math:`\nu \ge \pi^\top \lambda` is asked for, as in FORUM's code. Split
:math:`g = \sum_k \lambda_k g_k` into its share along q and the rest :math:`g_\perp`: what is left
is a convex function of :math:`\lambda`,

- :math:`\|g\|^2` where :math:`\pi^\top \lambda \le 0`, and
- :math:`\|g_\perp\|^2 + c \rho \langle q, g \rangle + (1 - c) \rho^2 \|q\|^2` elsewhere.

A minimiser of either over the whole simplex that lies where it counts is a minimiser of the whole,
by convexity; if neither does, the minimum lies on the face :math:`\pi^\top \lambda = 0` between
them, itself the convex hull of one point per pair of signs.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from moml.bilevel._simplex_qp import simplex_minimum
from moml.weighting import min_norm_weights

Array = NDArray[np.float64]


def constrained_min_norm_weights(
    gramian: Array, slopes: Array, steepness: float, rho: float, *, linear: float = 2.0
) -> Array:
    """Weights of the best joint direction.

    Args:
        gramian: Inner products of the objectives' gradients, ``(m, m)``.
        slopes: Their inner products with the constraint's, ``(m,)``.
        steepness: Squared norm of the constraint's gradient.
        rho: How fast the constraint should fall, relative to it.
        linear: c, 0 to 2.

    Returns:
        ``(m,)`` on the simplex.
    """
    if steepness <= 0.0:
        return min_norm_weights(gramian)
    multipliers = rho - slopes / steepness  # (m,)
    free = min_norm_weights(gramian)
    if multipliers @ free <= 0.0:
        return free
    # <g_i + p_i q, g_j + p_j q> with q's share written out: its rounding error stays small.
    across = gramian - np.outer(slopes, slopes) / steepness  # (m, m)
    bound = simplex_minimum(across, 0.5 * linear * rho * slopes)
    if multipliers @ bound >= 0.0:
        return bound
    vertices = _face(multipliers)  # (v, m)
    weights = min_norm_weights(vertices @ gramian @ vertices.T) @ vertices
    return weights / weights.sum()


def _face(multipliers: Array) -> Array:
    """Vertices of the part of the simplex where the multiplier vanishes, ``(v, m)``."""
    unit = np.eye(len(multipliers))
    above, below = np.flatnonzero(multipliers > 0), np.flatnonzero(multipliers < 0)
    found = [unit[k] for k in np.flatnonzero(multipliers == 0)]
    for i in above:
        for j in below:
            share = multipliers[i] / (multipliers[i] - multipliers[j])
            found.append((1.0 - share) * unit[i] + share * unit[j])
    return np.array(found)
