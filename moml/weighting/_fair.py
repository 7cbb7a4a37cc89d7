r"""Solution of :math:`G w = w^{-p}` with positive w.

It minimises the strictly convex :math:`\tfrac12 w^\top G w - \sum_i w_i^{1-p} / (1-p)` (for p = 1
the logarithm: `moml.weighting._nash`). In terms of :math:`b = w \|g\|` the matrix becomes that of
cosines C and the equation :math:`b \circ C b = h` with :math:`h = \|g\|^{p-1} b^{1-p}`, solved by
Newton steps relative to b, damped where the objective would not fall.
"""

from __future__ import annotations

import numpy as np
from scipy.linalg.lapack import dposv

from moml.weighting._gramian import Array, correlation
from moml.weighting._nash import nash_weights

# Keeps the weights finite where zero lies in the hull of the gradients; no effect elsewhere.
_RIDGE = 1e-9
_NEAR, _SOLVED = 1e-9, 1e-12  # with the ridge, and without it


def fair_weights(gramian: Array, *, power: float) -> Array:
    """Weights of the fair direction.

    Args:
        gramian: Inner products, ``(m, m)``; may be singular, have zero rows and any scale.
        power: p > 0.

    Returns:
        ``(m,)``; weight 0 for a zero row.
    """
    if power == 1.0:
        return nash_weights(gramian)
    weights = np.zeros(len(gramian))
    live = np.diagonal(gramian) > 0.0
    if not live.any():
        return weights
    norms = np.sqrt(np.diagonal(gramian)[live])
    cosines = correlation(gramian[np.ix_(live, live)], norms)
    unit = float(np.exp(np.log(norms).mean()))
    ratios = norms / unit
    rewards = ratios ** (power - 1.0)
    ridged = cosines + _RIDGE * np.eye(len(norms))
    shares = _newton(ridged, rewards, power, _start(ridged, rewards, power))
    shares = _without_ridge(cosines, rewards, power, shares)
    # the equation's two sides scale as unit^2 w and w^-p
    weights[live] = shares / ratios * unit ** (-2.0 / (1.0 + power))
    return weights


def _start(cosines: Array, rewards: Array, power: float) -> Array:
    """The solution for orthogonal gradients, on the best scale."""
    shares = rewards ** (1.0 / (1.0 + power))
    gain = float((rewards * shares ** (1.0 - power)).sum())
    return shares * (gain / float(shares @ cosines @ shares)) ** (1.0 / (1.0 + power))


def _newton(cosines: Array, rewards: Array, power: float, shares: Array) -> Array:
    previous = np.inf
    for _ in range(200):
        step, residual, decrement = _direction(cosines, rewards, power, shares)
        if residual < _NEAR or (previous < 1e-6 and residual > 0.5 * previous):
            break
        # near the solution the full step is right, and the objective is all rounding
        full = residual < 0.1 and np.abs(step).max() < 0.1
        if not full:
            step = _length(cosines, rewards, power, shares, step, decrement) * step
        shares, previous = shares * (1.0 + step), residual
    return shares


def _without_ridge(cosines: Array, rewards: Array, power: float, shares: Array) -> Array:
    """Newton steps on the equation itself, kept where that has a solution."""
    polished = shares
    for _ in range(3):
        error = _errors(cosines, rewards, power, polished)
        if np.abs(error).max() < _SOLVED:
            return polished
        polished = polished * (1.0 + _direction(cosines, rewards, power, polished)[0])
        if not (polished > 0.0).all():
            return shares
    return polished if np.abs(_errors(cosines, rewards, power, polished)).max() < 1e-8 else shares


def _errors(cosines: Array, rewards: Array, power: float, shares: Array) -> Array:
    return shares**power * (cosines @ shares) / rewards - 1.0


def _direction(
    cosines: Array, rewards: Array, power: float, shares: Array
) -> tuple[Array, float, float]:
    """Newton step relative to the shares, the residual, and how fast the objective falls."""
    gains = rewards * shares ** (1.0 - power)  # h
    roots = np.sqrt(gains)
    scale = shares / roots
    matrix = cosines * scale * scale[:, None]
    error = shares * (cosines @ shares) / gains - 1.0
    slope = roots * error
    matrix.flat[:: len(shares) + 1] += power
    _, scaled, _ = dposv(matrix, -slope)  # p + a positive semi-definite matrix: never singular
    return scaled / roots, float(np.abs(error).max()), float(-slope @ scaled)


def _length(
    cosines: Array, rewards: Array, power: float, shares: Array, step: Array, decrement: float
) -> float:
    """As much of a step as makes the objective fall; 0 where none does."""
    length = min(1.0, 0.95 / max(-step.min(), 1e-300))
    before = _objective(cosines, rewards, power, shares)
    for _ in range(40):
        after = _objective(cosines, rewards, power, shares * (1.0 + length * step))
        if after <= before - 1e-4 * length * decrement + 1e-14 * abs(before):
            return length
        length *= 0.5
    return 0.0


def _objective(cosines: Array, rewards: Array, power: float, shares: Array) -> float:
    utility = (rewards * shares ** (1.0 - power)).sum() / (1.0 - power)
    return float(0.5 * shares @ cosines @ shares - utility)
