"""Convex quadratic programs on the simplex, by active sets: exact for a handful of variables."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


_ROUNDING = 1e-12


def simplex_minimum(matrix: Array, linear: Array) -> Array:
    """Minimise ``x'Ax / 2 + b'x`` over the simplex.

    Args:
        matrix: A, symmetric, positive semi-definite, may be singular, ``(m, m)``.
        linear: b, ``(m,)``.

    Returns:
        ``(m,)``, non-negative, with sum 1.
    """
    m = len(linear)
    size = max(np.abs(matrix).max(), np.abs(linear).max())
    if not size > 0.0:
        return np.full(m, 1.0 / m)
    matrix, linear = matrix / size, linear / size
    point = np.eye(m)[(0.5 * matrix.diagonal() + linear).argmin()]
    support = point > 0.0
    for _ in range(20 * m):
        way, ends = _way(matrix, linear, point, support)
        shrinking = way < 0.0
        steps = np.where(shrinking, -point / np.where(shrinking, way, 1.0), np.inf)
        step = min(1.0 if ends else np.inf, steps.min())
        point = np.maximum(point + step * way, 0.0)
        if steps.min() == step and not (ends and step == 1.0):  # a variable reached zero
            support[steps.argmin()] = False
            point[steps.argmin()] = 0.0
            continue
        slopes = matrix @ point + linear
        entering = np.where(support, np.inf, slopes).argmin()
        if support.all() or slopes[entering] >= point @ slopes - _ROUNDING:
            break
        support[entering] = True
    return point / point.sum()


def _way(matrix: Array, linear: Array, point: Array, support: Array) -> tuple[Array, bool]:
    """The way to the minimum among the variables of the support, and whether it has an end."""
    inside = support.nonzero()[0]
    way = np.zeros(len(point))
    if len(inside) == 1:
        return way, True
    # moves that keep the sum: differences to the first variable
    moves = np.vstack([-np.ones(len(inside) - 1), np.eye(len(inside) - 1)])
    block = matrix[np.ix_(inside, inside)]
    slope = moves.T @ (matrix @ point + linear)[inside]
    values, vectors = np.linalg.eigh(moves.T @ block @ moves)
    curved = values > _ROUNDING
    parts = vectors.T @ slope
    flat = vectors[:, ~curved] @ parts[~curved]
    if np.abs(flat).max(initial=0.0) > _ROUNDING:  # falls for ever along a line
        way[inside] = -moves @ flat
        return way, False
    way[inside] = -moves @ (vectors[:, curved] @ (parts[curved] / values[curved]))
    return way, True
