"""How good a set of points is: hypervolume and IGD+, by moocore."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from torch import Tensor


def hypervolume(points: Tensor, reference: Sequence[float]) -> float:
    """Volume between the points and a reference point, in the units of the losses' product.

    The one indicator that never contradicts Pareto dominance (Zitzler & Thiele, 1998). Points
    beyond the reference count nothing.

    Args:
        points: Losses, smaller is better, ``(n, m)``.
        reference: Worst acceptable losses, ``(m,)``.
    """
    import moocore

    return float(moocore.hypervolume(_array(points), ref=list(reference)))


def igd_plus(points: Tensor, front: Tensor) -> float:
    """Mean distance from the front to the nearest point, counting only what is worse.

    Ishibuchi et al., `Modified Distance Calculation in Generational Distance and Inverted
    Generational Distance <https://doi.org/10.1007/978-3-319-15892-1_8>`_, 2015.

    Args:
        points: Losses, smaller is better, ``(n, m)``.
        front: Points that cover the true front, ``(k, m)``.
    """
    import moocore

    return float(moocore.igd_plus(_array(points), ref=_array(front)))


def non_dominated(points: Tensor) -> Tensor:
    """Which points no other point dominates, bools ``(n,)``."""
    better = (points[:, None] <= points[None]).all(2) & (points[:, None] < points[None]).any(2)
    return ~better.any(0)


def _array(points: Tensor) -> np.ndarray:
    return np.ascontiguousarray(points.detach().double().cpu().numpy())
