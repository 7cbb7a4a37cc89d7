r"""Solution of :math:`G w = w^{-p}` with positive w; the Nash bargaining solution where p = 1.

It minimises the strictly convex :math:`\tfrac12 w^\top G w - \sum_i u(w_i)` with
:math:`u(w) = w^{1-p} / (1-p)`, the logarithm for p = 1. In terms of :math:`b = w \|g\|` the matrix
becomes that of cosines C and the equation :math:`b \circ C b = h` with
:math:`h = \|g\|^{p-1} b^{1-p}`. Newton steps are relative to b, and each starts on the best scale:
where zero is nearly in the hull of the gradients b is large, and steps alone would double it one
by one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy.linalg.lapack import dposv

from moml.weighting._gramian import Array, correlation

# Keeps the weights finite where zero lies in the hull of the gradients; no effect elsewhere.
_RIDGE = 1e-9
_NEAR, _SOLVED = 1e-9, 1e-12  # with the ridge, and without it


def fair_weights(gramian: Array, *, power: float) -> Array:
    """Weights of the fair direction.

    Args:
        gramian: Inner products, ``(m, m)``; may be singular, have zero rows and any scale.
        power: p > 0. For p = 1 the weights are proportional to the inverse of a gradient's scale.

    Returns:
        ``(m,)``; a task without gradient has nothing to bargain for: weight 0.
    """
    weights = np.zeros(len(gramian))
    live = np.diagonal(gramian) > 0.0
    if not live.any():
        return weights
    norms = np.sqrt(np.diagonal(gramian)[live])
    rows = gramian if live.all() else gramian[np.ix_(live, live)]
    cosines = correlation(rows, norms)
    unit = float(np.exp(np.log(norms).mean()))
    ratios = norms / unit
    rewards = ratios ** (power - 1.0)
    ridged = cosines.copy()
    ridged.flat[:: len(norms) + 1] += _RIDGE
    start = rewards ** (1.0 / (1.0 + power))  # the solution for orthogonal gradients
    near = _newton(_Equation(ridged, rewards, power), start)
    shares = _polished(_Equation(cosines, rewards, power), near)
    # the equation's two sides scale as unit^2 w and w^-p
    weights[live] = shares / ratios * unit ** (-2.0 / (1.0 + power))
    return weights


class _Point(NamedTuple):
    """Positive shares b, and what follows from them."""

    shares: Array
    pull: Array  # C b
    gains: Array  # h

    @property
    def residual(self) -> float:
        """The length of the equation's errors relative to h."""
        errors = self.shares * self.pull / self.gains - 1.0
        return math.sqrt(errors @ errors)


@dataclass(frozen=True)
class _Equation:
    """b ∘ C b = h, the condition for the minimum of b' C b / 2 - sum u(b)."""

    cosines: Array
    rewards: Array
    power: float

    def at(self, shares: Array) -> _Point:
        """The equation's terms."""
        return _Point(shares, self.cosines @ shares, self.rewards * shares ** (1.0 - self.power))

    def on_best_scale(self, shares: Array) -> _Point:
        """The point on the ray of these shares where the objective is smallest."""
        shares, pull, gains = self.at(shares)
        scale = (float(gains.sum()) / float(shares @ pull)) ** (1.0 / (1.0 + self.power))
        return _Point(shares * scale, pull * scale, gains * scale ** (1.0 - self.power))

    def objective(self, point: _Point) -> float:
        """What the solution minimises."""
        if self.power == 1.0:
            utility = (self.rewards * np.log(point.shares)).sum()
        else:
            utility = point.gains.sum() / (1.0 - self.power)
        return float(0.5 * (point.shares @ point.pull) - utility)

    def step(self, point: _Point) -> tuple[Array, float]:
        """Newton's step relative to the shares, and how fast the objective falls along it."""
        supply = point.gains / point.shares
        gradient = point.pull - supply
        hessian = self.cosines.copy()  # + a positive diagonal: never singular
        hessian.flat[:: len(gradient) + 1] += self.power * supply / point.shares
        # the transpose of a symmetric matrix is the same in the memory order of LAPACK
        _, step, _ = dposv(hessian.T, -gradient, lower=1, overwrite_a=1)
        return step / point.shares, -float(gradient @ step)


def _newton(equation: _Equation, start: Array) -> Array:
    point = equation.on_best_scale(start)
    previous = np.inf
    for _ in range(200):
        residual = point.residual
        if residual < _NEAR or (residual > 0.5 * previous and residual < _rounding(point)):
            break
        step, slope = equation.step(point)
        # a short step makes the objective fall, the more surely the shorter; far from the solution
        # it need not, and near it the objective is all rounding
        if step @ step < 0.01:
            point = equation.on_best_scale(point.shares * (1.0 + step))
        else:
            point = _descent(equation, point, step, slope)
        previous = residual
    return point.shares


def _rounding(point: _Point) -> float:
    """The residual where terms of C b cancel to nothing; 1e-6 where they do not."""
    terms = point.shares.sum() * (point.shares / point.gains).max()
    return max(1e-6, 8.0 * np.finfo(float).eps * float(terms))


def _descent(equation: _Equation, point: _Point, step: Array, slope: float) -> _Point:
    """The better of a straight step and a folded one, or as much of the former as falls.

    A straight step stops short of the first share that would become negative. A folded one takes
    every share along its own way, down no further than 0, but leaves the subspace in which the
    gradients cancel: it helps with norms that differ widely, the other where zero is near the hull.
    """
    before = equation.objective(point)
    ways = (1.0 + np.maximum(step, 0.0)) / (1.0 - np.minimum(step, 0.0))
    folded = equation.on_best_scale(point.shares * ways)
    if equation.objective(folded) < before - 0.25 * slope:
        return folded
    length = min(1.0, 0.95 / max(-step.min(), 1e-300))
    while length > 1e-12:
        straight = equation.on_best_scale(point.shares * (1.0 + length * step))
        if equation.objective(straight) <= before - 1e-4 * length * slope + 1e-14 * abs(before):
            break
        length *= 0.5
    return straight


def _polished(equation: _Equation, shares: Array) -> Array:
    """Newton steps on the equation without a ridge, kept where that has a solution."""
    point = equation.at(shares)
    for _ in range(3):
        if point.residual < _SOLVED:
            return point.shares
        step, _ = equation.step(point)
        if not (step > -1.0).all():
            return shares
        point = equation.at(point.shares * (1.0 + step))
    return point.shares if point.residual < _rounding(point) else shares
