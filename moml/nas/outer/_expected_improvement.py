r"""Expected hypervolume improvement, exactly, where some objectives are known.

What a new point :math:`u` adds to the hypervolume is the volume of what it dominates and the front
:math:`F` does not, up to the reference point. The coordinates of the front cut the space of all
objectives but the last into boxes; above a box :math:`[l, h)` the front leaves free what lies below
:math:`b = \min \{ f_D : f \in F,\ f_d \le l_d\ \forall d < D \}`. For independent :math:`u_d`

.. math:: \mathrm{EHVI} = \sum_{\text{boxes}} \Big( \prod_{d < D}
          \psi_d(h_d) - \psi_d(l_d) \Big)\, \psi_D(b), \qquad \psi_d(t) = \mathbb E (t - u_d)^+ ,

for what is known :math:`\psi(t) = (t - u)^+`, and for what is uncertain, a number whose logarithm
is Gaussian,

.. math:: \psi(t) = t\, \Phi(z) - e^{\mu + \sigma^2 / 2}\, \Phi(z - \sigma) , \qquad
          z = (\log t - \mu) / \sigma .
"""

from __future__ import annotations

import numpy as np
from scipy.special import ndtr

MOST = 20_000_000  # numbers held at once


def expected_improvement(
    mean: np.ndarray, deviation: np.ndarray, front: np.ndarray, reference: np.ndarray
) -> np.ndarray:
    """Expected growth of the hypervolume, ``(m,)``.

    Args:
        mean: Of the logarithms of each new point's objectives, lower is better, ``(m, D)``.
        deviation: Standard deviations of the logarithms, zero where known, ``(m, D)``.
        front: Points that are there, ``(n, D)``; need not be non-dominated.
        reference: Reference point, ``(D,)``.
    """
    inside = front[(front < reference).all(1)]
    lows = [np.unique(column) for column in inside.T[:-1]]
    lows = [np.concatenate([[-np.inf], low]) for low in lows]
    free = _free(inside, lows, reference[-1])  # (boxes of d = 1, …, D - 1)
    chunk = max(1, MOST // free.size)
    parts = [
        _improvement(mean[i : i + chunk], deviation[i : i + chunk], lows, free, reference)
        for i in range(0, len(mean), chunk)
    ]
    return np.concatenate(parts)


def _free(inside: np.ndarray, lows: list[np.ndarray], top: float) -> np.ndarray:
    """Below what the last objective is free, for every box."""
    free = np.full([len(low) for low in lows], top)
    for point in inside:
        covered = tuple(
            slice(int(np.searchsorted(low, x)), None)
            for low, x in zip(lows, point[:-1], strict=True)
        )
        free[covered] = np.minimum(free[covered], point[-1])
    return free


def _improvement(
    mean: np.ndarray,
    deviation: np.ndarray,
    lows: list[np.ndarray],
    free: np.ndarray,
    reference: np.ndarray,
) -> np.ndarray:
    values, where = np.unique(free, return_inverse=True)
    total = _below(mean[:, -1], deviation[:, -1], values)[:, where.reshape(free.shape)]
    for d in range(len(lows) - 1, -1, -1):
        ends = np.append(lows[d][1:], reference[d])
        reached = _below(mean[:, d], deviation[:, d], ends)
        widths = np.diff(reached, axis=1, prepend=0.0)  # (m, boxes)
        total = np.einsum("m...b,mb->m...", total, widths)
    return total


def _below(mean: np.ndarray, deviation: np.ndarray, bounds: np.ndarray) -> np.ndarray:
    """How far each objective is expected to lie below each bound, ``(m, bounds)``."""
    spread = np.maximum(deviation[:, None], 1e-12)
    z = (np.log(np.maximum(bounds, 1e-300))[None] - mean[:, None]) / spread
    expected = np.exp(mean + 0.5 * deviation**2)[:, None]
    return np.maximum(bounds[None] * ndtr(z) - expected * ndtr(z - spread), 0.0)
