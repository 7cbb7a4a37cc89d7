r"""Conflict-averse direction: the best worst task within a ball around the average gradient.

:math:`\max_d \min_i \langle g_i, d\rangle` subject to :math:`\|d - g_0\| \le c\|g_0\|`. Its dual is
:math:`\min_{w\in\Delta} g_w^\top g_0 + c\|g_0\|\|g_w\|`, and :math:`d = g_0 + \lambda g_w` with
:math:`\lambda = c\|g_0\| / \|g_w\|`.

For a fixed :math:`\tau = 1/\lambda` the minimiser w is the minimum-norm point of the shifted
gradients :math:`g_i + \tau g_0`, and :math:`\|g_w\| / \tau` decreases in :math:`\tau`: one root in
one unknown. On the support that a minimum-norm point reveals, the problem is quadratic in closed
form, so two or three such points usually suffice and the result is exact.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.linalg.lapack import dposv

from moml.weighting._cone import Projector
from moml.weighting._gramian import Array, correlation, root
from moml.weighting._min_norm import nearest

# Duality gap, in units of |g0|^2, that ends the search.
_OPTIMAL = 1e-10
# How much longer the corrections of single tasks may be than their sum: beyond, it is rounding.
_LARGEST = 1e6
# Loss of primal value that avoiding this is worth: in float32 more would be lost.
_CLOSE = 1e-7


class _Problem(NamedTuple):
    cosines: Array  # (m, m)
    norms: Array  # (m,), in units of |g0|
    average: Array  # (m,) weights of g0 over these rows
    radius: float  # c

    def times(self, weights: Array) -> Array:
        """The Gramian times weights."""
        return self.norms * (self.cosines @ (self.norms * weights))

    def inside(self, correction: Array) -> float:
        """Factor that brings a correction into the ball."""
        square = float(correction @ self.times(correction))
        return min(1.0, self.radius / max(np.sqrt(max(square, 0.0)), 1e-300))

    def worst_task(self, correction: Array) -> float:
        """Primal value: the smallest g_i·d with the correction cut off at the ball."""
        inside = self.inside(correction)
        return float(self.times(self.average + inside * correction).min())


def cagrad_weights(gramian: Array, *, c: float) -> Array:
    """Weights of the direction, before any rescaling.

    Args:
        gramian: Inner products, ``(m, m)``; may be singular, have zero rows and any scale.
        c: Radius of the ball in units of the average gradient's norm.

    Returns:
        ``(m,)``: 1/m each plus the multiples of the gradients that correct the average.
    """
    m = len(gramian)
    weights = np.full(m, 1.0 / m)
    live = np.diagonal(gramian) > 0.0  # a zero row is indifferent to every direction
    square = gramian.sum() / m**2  # |g0|^2
    if c == 0.0 or square <= 4.0 * np.finfo(float).eps * np.diagonal(gramian).max():
        return weights
    norms = np.sqrt(np.diagonal(gramian)[live])
    cosines = correlation(gramian[np.ix_(live, live)], norms)
    problem = _Problem(cosines, norms / np.sqrt(square), weights[live], c)
    weights[live] += _correction(problem)
    return weights


def _correction(problem: _Problem) -> Array:
    """Weights of d - g0, ``(m,)``."""
    products = problem.times(problem.average)  # (m,) g_i·g0
    everything = np.arange(len(products))
    best, gap = _on_support(problem, products, everything)
    if gap <= _OPTIMAL and best @ problem.norms <= _LARGEST * problem.radius:
        return best
    vectors = root(problem.cosines) * problem.norms  # (n, m)
    average = vectors @ problem.average  # (n,)
    low, high = 0.0, problem.norms.max() / problem.radius  # of the ratio tau = |g_w| / c
    ratio = 1.0 / problem.radius
    for iteration in range(100):
        weights = _shifted(vectors, average, ratio)
        length = np.linalg.norm(vectors @ weights)
        low, high = (ratio, high) if length > problem.radius * ratio else (low, ratio)
        candidate, new_gap = _on_support(problem, products, weights.nonzero()[0])
        if new_gap == np.inf:
            candidate, new_gap = _certified(problem, products, weights)
        if new_gap < gap:
            best, gap = candidate, new_gap
        if gap <= _OPTIMAL or low >= (1.0 - 1e-13) * high or high < 1e-12:
            break
        guess = 1.0 / max(candidate.sum(), 1e-300)
        trusted = iteration < 6 or iteration % 2  # every other one is a bisection, if it takes long
        ratio = guess if trusted and low < guess < high else _between(low, high)
    if gap <= 1e-9 and best @ problem.norms <= _LARGEST * problem.radius:
        return best
    kink = _at_kink(problem)  # preferred if as good: the other is a sum of cancelling gradients
    return kink if problem.worst_task(kink) >= problem.worst_task(best) - _CLOSE else best


def _between(low: float, high: float) -> float:
    return 0.1 * high if low == 0.0 else float(np.sqrt(low * high))


def _shifted(vectors: Array, average: Array, ratio: float) -> Array:
    """Weights of the minimum-norm point of ``g_i + ratio * g0``, ``(m,)``."""
    columns = vectors + ratio * average[:, None]
    norms = np.sqrt(np.einsum("ij,ij->j", columns, columns))
    norms = np.maximum(norms, 1e-15 * norms.max())
    ratios = norms.min() / norms
    weights = nearest(columns / norms, ratios) * ratios
    return weights / weights.sum()


def _on_support(
    problem: _Problem, products: Array, support: NDArray[np.intp]
) -> tuple[Array, float]:
    """The exact solution if ``support`` is right, and its duality gap.

    Stationarity on the support is lambda * G w = level - products; the ball gives the level.
    """
    correction = np.zeros(len(products))
    norms = problem.norms[support]
    block = problem.cosines[support[:, None], support]
    sides = np.stack([1.0 / norms, products[support] / norms], axis=1)
    _, solved, failed = dposv(block, sides)
    if failed:
        return correction, np.inf
    (a, q), (_, p) = sides.T @ solved
    discriminant = q * q - a * (p - problem.radius**2)
    if not discriminant > 0.0:
        return correction, np.inf
    level = (q + np.sqrt(discriminant)) / a
    correction[support] = (level * solved[:, 0] - solved[:, 1]) / norms
    return _certified(problem, products, np.maximum(correction, 0.0))


def _certified(problem: _Problem, products: Array, weights: Array) -> tuple[Array, float]:
    """Weights scaled to the ball's boundary, and dual minus primal value in units of |g0|^2."""
    total = weights.sum()
    square = float(weights @ problem.times(weights))
    if not 0.0 < total < np.inf or not square > 0.0:
        return weights, np.inf
    length = float(np.sqrt(square))
    correction = weights * (problem.radius / length)
    dual = (products @ weights + problem.radius * length) / total
    return correction, dual - problem.worst_task(correction)


def _at_kink(problem: _Problem) -> Array:
    """The nearest direction to g0 that no task loses by, cut off at the ball.

    Where zero lies in the hull of the gradients no direction is better than that, and the dual has
    a kink instead of a stationary point.
    """
    average = problem.average * problem.norms
    correction = (Projector(problem.cosines)(average) - average) / problem.norms
    return correction * problem.inside(correction)
