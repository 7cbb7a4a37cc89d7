"""Exact invariants of the connected graphs with four to seven nodes.

R. C. Read, R. J. Wilson, "An Atlas of Graphs", Oxford 1998, as networkx carries it. Spectra are
those of the adjacency matrix A and the Laplacian L.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

if TYPE_CHECKING:
    from networkx import Graph

MAX_NODES = 7
TARGETS = (
    "diameter",
    "radius",
    "mean_distance",
    "clustering",
    "triangles",
    "algebraic_connectivity",
    "laplacian_radius",
    "spectral_radius",
    "log_spanning_trees",
    "clique_number",
    "energy",
)


@cache
def atlas() -> tuple[Tensor, dict[str, Tensor]]:
    """All 992 graphs: adjacency matrices ``(992, 7, 7)`` and targets, each ``(992, 1)``."""
    import networkx as nx

    graphs = [g for g in nx.graph_atlas_g() if len(g) >= 4 and nx.is_connected(g)]
    adjacency = np.zeros((len(graphs), MAX_NODES, MAX_NODES), dtype=np.float32)
    for row, graph in zip(adjacency, graphs, strict=True):
        row[: len(graph), : len(graph)] = nx.to_numpy_array(graph)
    rows = [invariants(graph) for graph in graphs]
    targets = {
        name: torch.tensor([row[name] for row in rows], dtype=torch.float32)[:, None]
        for name in TARGETS
    }
    return torch.from_numpy(adjacency), targets


def invariants(graph: Graph) -> dict[str, float]:
    """All targets of one connected graph, by name.

    Args:
        graph: Undirected, without loops.
    """
    import networkx as nx

    n = len(graph)
    adjacency = nx.to_numpy_array(graph)  # (n, n)
    eigenvalues = np.linalg.eigvalsh(adjacency)
    laplacian = np.linalg.eigvalsh(np.diag(adjacency.sum(0)) - adjacency)
    distance = _distances(adjacency)
    eccentricity = distance.max(0)
    return {
        "diameter": float(eccentricity.max()),
        "radius": float(eccentricity.min()),
        "mean_distance": float(distance.sum() / (n * (n - 1))),
        "clustering": float(nx.average_clustering(graph)),
        "triangles": float(np.trace(adjacency @ adjacency @ adjacency) / 6),
        "algebraic_connectivity": float(laplacian[1]),
        "laplacian_radius": float(laplacian[-1]),
        "spectral_radius": float(eigenvalues[-1]),
        # Kirchhoff: the number of spanning trees is the product of the non-zero eigenvalues over n.
        "log_spanning_trees": float(np.log(laplacian[1:]).sum() - np.log(n)),
        "clique_number": float(max(map(len, nx.find_cliques(graph)))),
        "energy": float(np.abs(eigenvalues).sum()),
    }


def _distances(adjacency: np.ndarray) -> np.ndarray:
    """Shortest path lengths of a connected graph by Floyd and Warshall, ``(n, n)``."""
    n = len(adjacency)
    distance = np.where(adjacency > 0, 1.0, np.inf)
    np.fill_diagonal(distance, 0)
    for middle in range(n):
        through = distance[:, middle, None] + distance[None, middle, :]
        distance = np.minimum(distance, through)
    return distance
