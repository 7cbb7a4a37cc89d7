"""What a Gramian that is there anyway tells about a step."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from moml.weighting import min_norm_weights


def diagnostics(gramian: Tensor, weights: Tensor | None) -> dict[str, float | None]:
    r"""A few numbers from inner products of the gradients and the weights applied.

    Lengths are relative to the longest gradient, so that they do not depend on its scale:

    - ``stationarity``: :math:`\min_{w \in \Delta} |\sum_i w_i g_i|`, zero at Pareto-stationary
      points (Désidéri, C. R. Math. 2012);
    - ``direction``: length of :math:`d = \sum_i w_i g_i / \sum_i |w_i|`, never shorter than that
      where weights are not negative;
    - ``worst cosine``: the smallest cosine between a gradient and d: below zero that task's loss
      rises along the step;
    - ``condition``: largest over smallest singular value of the unit gradients, ``None`` where they
      are dependent.

    Args:
        gramian: Inner products of the gradients, ``(m, m)``.
        weights: Those applied, ``(m,)``; ``None`` for methods without any.
    """
    norms = gramian.diagonal().clamp(min=0).sqrt()
    longest = float(norms.max())
    if longest == 0.0:
        return {"stationarity": 0.0}
    scaled = gramian / longest**2
    nearest = torch.from_numpy(min_norm_weights(scaled.numpy()))
    found: dict[str, float | None] = {"stationarity": _length(scaled, nearest)}
    if weights is not None and bool((weights != 0).any()):
        weights = weights.to(scaled) / weights.abs().sum()
        length, seen = _length(scaled, weights), norms > 0
        found["direction"] = length
        if length > 0.0:
            cosines = (scaled @ weights)[seen] / (norms[seen] / longest * length)
            found["worst cosine"] = float(cosines.min().clamp(-1, 1))
    found["condition"] = _condition(gramian, norms)
    return found


def _length(gramian: Tensor, weights: Tensor) -> float:
    return math.sqrt(max(float(weights @ gramian @ weights), 0.0))


def _condition(gramian: Tensor, norms: Tensor) -> float | None:
    if not bool((norms > 0).all()):
        return None
    values = torch.linalg.eigvalsh(gramian / norms.outer(norms))
    smallest, largest = float(values[0]), float(values[-1])
    return math.sqrt(largest / smallest) if smallest > 1e-14 * largest else None
