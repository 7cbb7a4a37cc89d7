r"""Minimum-norm point of a convex hull: :math:`\min_{w \in \Delta} w^\top G w`.

Exact, where Frank–Wolfe is not: near Pareto-stationary points and for gradients of very different
norms an approximate minimiser is an ascent direction for some task.
"""

from __future__ import annotations

import numpy as np
from scipy.linalg.lapack import dposv
from scipy.optimize import nnls

from moml.weighting._gramian import Array, correlation, root

# Shortfall of g_i·d below |d|^2, relative to |d|^2, that counts as rounding.
_ROUNDING = 1e-12


def min_norm_weights(gramian: Array) -> Array:
    """Weights of the minimum-norm point, on the simplex.

    Args:
        gramian: Inner products, ``(m, m)``; may be singular, have zero rows and any scale.

    Returns:
        ``(m,)``. Zero rows, if there are any, share the weight equally.
    """
    squares = np.diagonal(gramian)  # (m,)
    zero = squares <= 0.0
    if zero.any():
        return zero / zero.sum()
    if len(gramian) == 2:
        return _segment(gramian)
    smallest = squares.argmin()
    if (gramian[smallest] >= squares[smallest]).all():
        return np.eye(len(gramian))[smallest]
    norms = np.sqrt(squares)
    cosines = correlation(gramian, norms)
    ratios = norms[smallest] / norms  # (m,) in (0, 1]
    # In terms of u = w * norms: stationary means C u = ratios on the support and >= elsewhere.
    mass = _full_support(cosines, ratios)
    if mass is None:
        mass = _polished(cosines, ratios, nearest(root(cosines), ratios))
    weights = mass * ratios
    return weights / weights.sum()


def _segment(gramian: Array) -> Array:
    (a, b), (_, c) = gramian
    if b >= min(a, c):  # the shorter gradient, or both when they are equal
        return np.array([0.5, 0.5]) if a == c else np.array([float(a < c), float(c < a)])
    first = (c - b) / ((a - b) + (c - b))
    return np.array([first, 1.0 - first])


def _full_support(cosines: Array, ratios: Array) -> Array | None:
    _, mass, failed = dposv(cosines, ratios)
    if failed or not (mass > 0.0).all() or not np.isfinite(mass).all():
        return None
    return mass if _shortfall(cosines, ratios, mass) <= _ROUNDING else None


def nearest(columns: Array, ratios: Array) -> Array:
    """One call of non-negative least squares: weights, up to a factor, of the minimum-norm point.

    The minimiser u of |A u|^2 + (ratios' u - 1)^2 will do: for a given direction of u the best
    factor depends monotonically on |A u| / (ratios' u) alone.

    Args:
        columns: The gradients, each divided by its norm, ``(n, m)``.
        ratios: Smallest norm divided by each norm, ``(m,)``.
    """
    matrix = np.vstack([columns, ratios])  # (n + 1, m)
    target = np.zeros(len(matrix))
    target[-1] = 1.0
    mass, _ = nnls(matrix, target, maxiter=30 * len(ratios))
    return mass


def _polished(cosines: Array, ratios: Array, mass: Array) -> Array:
    """Solve once more on the support found; keep the better of both."""
    support = mass.nonzero()[0]
    _, exact, failed = dposv(cosines[np.ix_(support, support)], ratios[support])
    if failed or not (exact > 0.0).all() or not np.isfinite(exact).all():
        return mass
    polished = np.zeros_like(mass)
    polished[support] = exact
    if _shortfall(cosines, ratios, polished) < _shortfall(cosines, ratios, mass):
        return polished
    return mass


def _shortfall(cosines: Array, ratios: Array, mass: Array) -> float:
    """The largest of 1 - g_i·d / |d|^2, which is zero at the minimum-norm point."""
    weights = mass / (ratios @ mass)
    products = cosines @ weights
    square = weights @ products  # in units of the smallest squared norm
    return float(1.0 - (products / ratios).min() / square) if square > 1e-30 else 0.0


def frank_wolfe_weights(gramian: Array, *, iterations: int = 250, tolerance: float = 1e-5) -> Array:
    """Frank–Wolfe with exact line search, for fidelity to published runs; see `min_norm_weights`.

    Args:
        gramian: Inner products, ``(m, m)``.
        iterations: At most so many steps.
        tolerance: Stop when the duality gap is below this fraction of the squared norm.

    Returns:
        ``(m,)`` on the simplex; the error decreases like one over the number of iterations.
    """
    weights = np.full(len(gramian), 1.0 / len(gramian))
    for _ in range(iterations):
        products = gramian @ weights  # (m,)
        vertex = products.argmin()
        square = weights @ products
        gap = square - products[vertex]
        if gap <= tolerance * square:
            break
        length = square - 2.0 * products[vertex] + gramian[vertex, vertex]
        step = min(gap / length, 1.0)
        weights *= 1.0 - step
        weights[vertex] += step
    return weights
