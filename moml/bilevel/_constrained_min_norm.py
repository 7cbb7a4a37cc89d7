r"""The shortest joint direction under the lower level's constraint, exactly.

:math:`\min_{\lambda \in \Delta} \|\sum_k \lambda_k g_k + \nu(\lambda) q\|^2` with
:math:`\nu(\lambda) = \max(\pi^\top \lambda, 0)`, :math:`\pi_k = \rho - \langle q, g_k \rangle /
\|q\|^2`. Split :math:`d = \sum_k \lambda_k g_k` into its share along q and the rest
:math:`d_\perp`: the objective is :math:`\|d_\perp\|^2 + \max(\langle q, d \rangle, \rho \|q\|^2)^2
/ \|q\|^2`, a convex function. Where :math:`\pi^\top \lambda \ge 0` it is the norm of a combination
of :math:`g_k + \pi_k q`, elsewhere of :math:`g_k`. A minimiser of either over the whole simplex
that lies where it counts is a minimiser of the whole, by convexity; if neither does, the minimum
lies on the face :math:`\pi^\top \lambda = 0` between them, itself the convex hull of one point per
pair of signs. Three minimum-norm problems, no iterations over quadratic programs.
"""

from __future__ import annotations

import numpy as np

from moml.weighting._gramian import Array
from moml.weighting._min_norm import min_norm_weights


def constrained_min_norm_weights(
    gramian: Array, slopes: Array, steepness: float, rho: float
) -> Array:
    """Weights of the shortest joint direction.

    Args:
        gramian: Inner products of the objectives' gradients, ``(m, m)``.
        slopes: Their inner products with the constraint's, ``(m,)``.
        steepness: Squared norm of the constraint's gradient.
        rho: How fast the constraint should fall, relative to it.

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
    bound = min_norm_weights(across + rho * rho * steepness)
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
