"""Who comes first in a population: non-dominated layers, then space around oneself."""

from __future__ import annotations

import numpy as np


def crowded_order(points: np.ndarray) -> np.ndarray:
    """Indices from best to worst, as NSGA-II compares (Deb et al., 2002).

    Args:
        points: Objectives, lower is better, ``(n, objectives)``.
    """
    import moocore

    ranks = moocore.pareto_rank(points)
    crowding = np.zeros(len(points))
    for rank in np.unique(ranks):
        layer = np.flatnonzero(ranks == rank)
        for values in points[layer].T:
            order = layer[np.argsort(values, kind="stable")]
            spread = values.max() - values.min()
            crowding[order[[0, -1]]] = np.inf
            if len(order) > 2 and spread > 0:
                sorted_values = np.sort(values)
                crowding[order[1:-1]] += (sorted_values[2:] - sorted_values[:-2]) / spread
    return np.lexsort((-crowding, ranks))
