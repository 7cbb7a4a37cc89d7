"""What a Gaussian process sees of an architecture, as kernels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from moml.nas.genotype import Genotype
from moml.nas.search_space import SearchSpace


class Features:
    """One-hot live edges and the logarithm of the size, for many architectures.

    Args:
        space: The space of the architectures.
    """

    def __init__(self, space: SearchSpace) -> None:
        self.space = space
        self.columns = {
            (name, edge, op): i
            for i, (name, edge, op) in enumerate(
                (name, edge, op)
                for name, cell in space.spec.cells
                for edge in cell.edges
                for op in cell.ops
            )
        }
        self.edges = sum(len(cell.edges) for _, cell in space.spec.cells)

    def of(self, genotypes: Sequence[Genotype]) -> np.ndarray:
        """One row each: live edges by operation, then the size's logarithm."""
        rows = np.zeros((len(genotypes), len(self.columns) + 1))
        cells = self.space.spec.by_name
        for row, genotype in zip(rows, genotypes, strict=True):
            for name, choice in genotype.cells:
                for edge, op in cells[name].live(choice):
                    row[self.columns[name, edge, op]] = 1.0
            row[-1] = np.log(self.space.num_parameters(genotype))
        return rows

    def kernels(
        self, a: np.ndarray, b: np.ndarray, *, center: np.ndarray, scale: np.ndarray
    ) -> np.ndarray:
        """Kernels between two sets of rows, ``(components, len(a), len(b))``.

        Linear and squared exponential in the size (and in what stands behind it), linear in the
        edges, and two exponentials of how many edges differ: near and far.
        """
        edges = len(self.columns)
        left, right = (a[:, edges:] - center) / scale, (b[:, edges:] - center) / scale
        counts = a[:, :edges].sum(1)[:, None] + b[:, :edges].sum(1)[None]
        common = a[:, :edges] @ b[:, :edges].T
        differing = counts - 2 * common
        far = ((left[:, None] - right[None]) ** 2).sum(2)
        return np.stack(
            [
                left @ right.T,
                np.exp(-0.5 * far),
                common / self.edges,
                np.exp(-differing / 2),
                np.exp(-differing / self.edges),
            ]
        )

    def own(self, a: np.ndarray, *, center: np.ndarray, scale: np.ndarray) -> np.ndarray:
        """Diagonal of `kernels` of rows with themselves, ``(components, len(a))``."""
        edges = len(self.columns)
        left = (a[:, edges:] - center) / scale
        ones = np.ones(len(a))
        return np.stack([(left**2).sum(1), ones, a[:, :edges].sum(1) / self.edges, ones, ones])
