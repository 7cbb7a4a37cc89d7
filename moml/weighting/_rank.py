"""Directions with given cosines to all gradients, where unit gradients may cancel."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from moml.weighting._gramian import Array

# Of the largest eigenvalue: gradients that cancel up to a millionth of their length cancel.
_ZERO = 1e-12
# Of a vector's length: what is left of it in a space that holds nothing of it is rounding.
_ROUNDING = 1e-6


class Shares(NamedTuple):
    """Multiples of unit gradients, ``(m,)`` each."""

    reached: Array
    """Solves ``C b = aim`` as well as possible, and smallest; 0 if nothing of the aim is there."""
    cancelling: Array
    """The part of the aim that unit gradients cancel on, ``C b = 0``; 0 if there is none."""


def shares_of(cosines: Array, aim: Array) -> Shares:
    """Split an aim by the rank of the cosines, which rounding does not decide.

    The inverse of an eigenvalue that is rounding would turn rounding into a direction, another one
    for every order of the tasks.

    Args:
        cosines: Inner products of unit gradients, ``(m, m)``.
        aim: Cosines wished for, up to a factor, ``(m,)``.
    """
    values, vectors = np.linalg.eigh(cosines)
    known = values > _ZERO * values[-1]
    parts = vectors.T @ aim  # (m,)
    reached = vectors[:, known] @ (parts[known] / values[known])
    cancelling = vectors[:, ~known] @ parts[~known]
    length = _ROUNDING * np.linalg.norm(aim)
    if np.linalg.norm(parts[known]) <= length:
        reached = np.zeros_like(aim)
    if np.linalg.norm(parts[~known]) <= length:
        cancelling = np.zeros_like(aim)
    return Shares(reached, cancelling)
