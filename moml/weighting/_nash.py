r"""Nash bargaining solution: :math:`\alpha > 0` with :math:`(G\alpha)_i = 1/\alpha_i`.

It is the minimiser of the strictly convex, self-concordant
:math:`\tfrac12 \alpha^\top G \alpha - \sum_i \log \alpha_i`, so damped Newton steps reach it.
"""

from __future__ import annotations

import numpy as np
from scipy.linalg.lapack import dposv

from moml.weighting._gramian import Array, correlation

# Keeps the weights finite where zero lies in the hull of the gradients; no effect elsewhere.
_RIDGE = 1e-9


def nash_weights(gramian: Array) -> Array:
    """Weights of the Nash bargaining solution.

    Args:
        gramian: Inner products, ``(m, m)``; may be singular, have zero rows and any scale.

    Returns:
        ``(m,)``, proportional to the inverse of the gradients' scale. A task without gradient has
        nothing to bargain for: weight 0.
    """
    weights = np.zeros(len(gramian))
    players = np.diagonal(gramian) > 0.0
    if not players.any():
        return weights
    norms = np.sqrt(np.diagonal(gramian)[players])
    cosines = correlation(gramian[np.ix_(players, players)], norms)
    weights[players] = _without_ridge(cosines, _newton(cosines)) / norms
    return weights


def _newton(cosines: Array) -> Array:
    """Minimise b' (C + ridge) b / 2 - sum(log b); the start is exact for two tasks."""
    m = len(cosines)
    ridged = cosines + _RIDGE * np.eye(m)
    shares = np.full(m, np.sqrt(m / max(ridged.sum(), _RIDGE)))
    previous = np.inf
    for _ in range(100):
        step, decrement = _direction(ridged, shares)
        # Convergence is quadratic below 1/4: no better than halved means rounding.
        if decrement < 1e-11 or (previous < 0.25 and decrement > 0.5 * previous):
            break
        shares = _step(ridged, shares, step, decrement)
        previous = decrement
    return shares


def _direction(cosines: Array, shares: Array) -> tuple[Array, float]:
    """Newton step relative to the shares, and the Newton decrement."""
    scaled = cosines * shares * shares[:, None]  # B C B
    residual = scaled.sum(1) - 1.0  # b_i (C b)_i - 1
    scaled.flat[:: len(shares) + 1] += 1.0
    _, step, _ = dposv(scaled, -residual)  # 1 + a positive semi-definite matrix: never singular
    return step, float(np.sqrt(max(-residual @ step, 0.0)))


def _step(cosines: Array, shares: Array, step: Array, decrement: float) -> Array:
    """A full step in the region of quadratic convergence, else a long or at least a safe one."""
    if decrement < 0.25:
        return shares * (1.0 + step)
    to_boundary = -1.0 / min(step.min(), -1e-300)
    long = shares * (1.0 + min(1.0, 0.95 * to_boundary) * step)
    if _objective(cosines, long) < _objective(cosines, shares):
        return long
    return shares * (1.0 + step / (1.0 + decrement))  # decreases any self-concordant function


def _objective(cosines: Array, shares: Array) -> float:
    return float(0.5 * shares @ cosines @ shares - np.log(shares).sum())


def _without_ridge(cosines: Array, shares: Array) -> Array:
    """Newton steps on the equation itself, kept where that has a solution."""
    polished = shares
    for _ in range(3):
        if _residual(cosines, polished) < 1e-12:
            return polished
        polished = polished * (1.0 + _direction(cosines, polished)[0])
        if not (polished > 0.0).all():
            return shares
    return polished if _residual(cosines, polished) < 1e-8 else shares


def _residual(cosines: Array, shares: Array) -> float:
    return float(np.abs(shares * (cosines @ shares) - 1.0).max())
