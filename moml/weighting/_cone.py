r"""Projection onto the dual cone :math:`\{d : \langle g_i, d\rangle \ge 0\}` of the gradients.

The projection of a combination with weights u has weights v, the minimiser of v'Gv over v >= u.
Its optimality conditions, G v >= 0 and complementary to v - u, are solved by block principal
pivoting (Júdice & Pires 1994; Kim & Park 2011): guess where v exceeds u, solve, flip every index
that is wrong. Where this does not end in a solution, a non-negative least squares call does.
"""

from __future__ import annotations

import numpy as np
from scipy.linalg.lapack import dposv
from scipy.optimize import nnls

from moml.weighting._gramian import Array, correlation, root

# Shortfall of cos(g_i, d) below zero, relative to the norms involved, that counts as rounding.
_ROUNDING = 1e-12
# Makes dependent gradients independent for least squares, which else may end anywhere; its square
# is what the cosines change by.
_RIDGE = 1e-7
# Weights beyond this come from dependent gradients, where the linear system is noise.
_LARGEST = 1e6


def projected_weights(gramian: Array) -> Array:
    """Weights of the projections of every gradient.

    Args:
        gramian: Inner products, ``(m, m)``; may be singular, have zero rows and any scale.

    Returns:
        ``(m, m)``: row k combines the gradients to the projection of the k-th.
    """
    weights = np.eye(len(gramian))
    live = np.diagonal(gramian) > 0.0  # a zero row is its own projection and constrains nothing
    if not live.any():
        return weights
    norms = np.sqrt(np.diagonal(gramian)[live])
    project = Projector(correlation(gramian[np.ix_(live, live)], norms))
    rows = np.stack([project(unit) for unit in np.eye(len(norms))])
    weights[np.ix_(live, live)] = rows * norms[:, None] / norms
    return weights


def projected_average(gramian: Array, *, average: Array) -> Array:
    """Weights of the projection of one combination.

    Args:
        gramian: Inner products, ``(m, m)``; may be singular, have zero rows and any scale.
        average: The combination's weights, ``(m,)``.
    """
    weights = average.copy()
    live = np.diagonal(gramian) > 0.0
    if live.any():
        norms = np.sqrt(np.diagonal(gramian)[live])
        project = Projector(correlation(gramian[np.ix_(live, live)], norms))
        largest = norms.max()
        weights[live] = project(average[live] * (norms / largest)) * (largest / norms)
    return weights


def constrained_weights(gramian: Array, *, first: int, share: float) -> Array:
    """Weights of the vector nearest to one gradient with ``g_j·d >= share * |g_j|^2`` for others.

    Args:
        gramian: Inner products, ``(m, m)``.
        first: Position of the gradient to stay near.
        share: Zero or positive.

    Returns:
        ``(m,)``: 1 for the first and the multipliers of the others, zero if the constraints
        contradict each other.
    """
    weights = np.zeros(len(gramian))
    weights[first] = 1.0
    others = np.diagonal(gramian) > 0.0
    others[first] = False
    if not others.any():
        return weights
    norms = np.sqrt(np.diagonal(gramian)[others])
    project = Projector(correlation(gramian[np.ix_(others, others)], norms))
    slack = gramian[others, first] / norms - share * norms
    surplus = project.surplus(slack / max(np.abs(slack).max(), 1e-300))
    if surplus is not None:
        weights[others] = surplus * np.abs(slack).max() / norms
    return weights


class Projector:
    """Projects combinations of unit vectors with given cosines onto the dual cone.

    Args:
        cosines: Inner products of the unit vectors, ``(m, m)``.
    """

    def __init__(self, cosines: Array) -> None:
        self.cosines = cosines
        self._root: Array | None = None

    def __call__(self, weights: Array) -> Array:
        """Weights of the projection, ``(m,)``, at least ``weights``."""
        products = self.cosines @ weights  # (m,)
        if (products >= 0.0).all():
            return weights
        surplus = self._pivoting(products)
        if surplus is None:
            surplus = self._least_squares(weights)
        return weights + surplus

    def surplus(self, slack: Array) -> Array | None:
        """The smallest x >= 0 with Cx + slack >= 0, in the norm of C; ``None`` if there is none."""
        found = self._pivoting(slack)
        if found is not None:
            return found
        # C = R'R may be singular: x >= 0 minimises x'Cx/2 + slack'x, made strictly convex.
        ridged = np.vstack([root(self.cosines), _RIDGE * np.eye(len(slack))])
        target, *_ = np.linalg.lstsq(ridged.T, -slack, rcond=None)
        found, _ = nnls(ridged, target, maxiter=30 * len(slack))
        return found if (self.cosines @ found + slack >= -1e-6).all() else None

    def _pivoting(self, products: Array) -> Array | None:
        """Solve x >= 0, y = Cx + products >= 0, x'y = 0 for x; ``None`` if that does not end."""
        m = len(products)
        free = np.zeros(m, dtype=bool)
        surplus, slack = np.zeros(m), products
        fewest, patience = m + 1, 3
        for _ in range(5 * m):
            wrong = np.where(free, surplus, slack) < -_ROUNDING
            count = int(np.count_nonzero(wrong))
            if count == 0:
                return self._accepted(surplus, slack)
            if count < fewest:
                fewest, patience = count, 3
            elif patience > 0:
                patience -= 1
            else:  # one at a time, by index, cannot cycle
                wrong[: wrong.nonzero()[0][-1]] = False
            free ^= wrong
            inside = free.nonzero()[0]
            surplus = np.zeros(m)
            if len(inside):
                block = self.cosines[inside[:, None], inside]
                _, surplus[inside], failed = dposv(block, -products[inside])
                if failed:
                    return None
            slack = self.cosines @ surplus + products
        return None

    def _accepted(self, surplus: Array, slack: Array) -> Array | None:
        if surplus.sum() > _LARGEST:
            return None
        error = np.abs(np.minimum(surplus, slack)).max()
        return np.maximum(surplus, 0.0) if error <= _ROUNDING * (1.0 + surplus.sum()) else None

    def _least_squares(self, weights: Array) -> Array:
        m = len(weights)
        if self._root is None:
            self._root = np.vstack([root(self.cosines), _RIDGE * np.eye(m)])  # (rank + m, m)
        target = -self._root @ weights
        target[-m:] = 0.0  # only the surplus is kept small
        surplus, _ = nnls(self._root, target, maxiter=30 * m)
        return surplus
