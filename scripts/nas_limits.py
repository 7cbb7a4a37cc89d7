r"""How far a search could get that knew every cell of a table but the one it asks for.

python scripts/bench_nas.py --tables digits3:2 digits:1 --protocols clean \
    --method nas_limits:told_of_all_others

A method for `bench_nas.py`, and none for anything else: it reads the table. Each cell is predicted
by the Gaussian process of ParetoSearch from *all others*, trained or not (Rasmussen, Williams,
"Gaussian processes for machine learning", 2006, equations 5.10 to 5.12), and the cell of largest
expected hypervolume improvement is next. Between ParetoSearch and this is what a search has not
learnt yet; between this and one is what size, paths and shape do not tell, which for a table of
single trainings includes their luck.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from bench_nas import numbers

from moml.nas import Genotype, SearchSpace
from moml.nas.outer import OuterSearch
from moml.nas.outer._expected_improvement import expected_improvement
from moml.nas.outer._features import Features
from moml.nas.outer._gaussian_process import GaussianProcess
from tasks import NBDigits as Tables


class ToldOfAllOthers(OuterSearch):
    """Asks for the largest expected improvement, given all cells but one.

    Args:
        space: The space.
        candidates: The cells of the table.
        errors: Theirs, ``(cells, 2)``.
        seed: Of nothing but ties.
    """

    def __init__(
        self, space: SearchSpace, *, candidates: Sequence[Genotype], errors: np.ndarray, seed: int
    ) -> None:
        super().__init__(space, candidates=candidates, seed=seed)
        features = Features(space, candidates)
        rows = features.of(candidates)
        kernels = features.kernels(rows, rows)
        logs = np.log(np.maximum(errors, 1e-3))
        parts = [left_out(kernels, values) for values in logs.T]
        known = np.array([self.known_of(genotype)[0] for genotype in candidates])
        self.reference = np.array([1.0, 1.0, 1.05 * known.max()])
        self.mean = np.stack([*(m for m, _ in parts), np.log(known / self.reference[2])], 1)
        self.deviation = np.stack([*(d for _, d in parts), np.zeros(len(known))], 1)
        self._row = {genotype: row for row, genotype in enumerate(candidates)}

    def _propose(self) -> Genotype:
        new = self.new_pool()
        if not self.history:
            return new[self.below(len(new))]
        rows = [self._row[genotype] for genotype in new]
        points = np.array([trained.objectives for trained in self.history]) / self.reference
        gains = expected_improvement(self.mean[rows], self.deviation[rows], points, np.ones(3))
        return new[int(gains.argmax())]


def left_out(kernels: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of every value, given all others."""
    process = GaussianProcess(kernels, values)
    noise, weights = process.weights[0], process.weights[1:]
    inverse = np.linalg.inv(np.tensordot(weights, kernels, 1) + noise * np.eye(len(values)))
    standard = (values - process.mean) / process.scale
    mean = standard - inverse @ standard / np.diag(inverse)
    return process.mean + process.scale * mean, process.scale / np.sqrt(np.diag(inverse))


def told_of_all_others(
    space: SearchSpace, *, candidates: Sequence[Genotype], seed: int
) -> OuterSearch:
    """For the tables `digits3` with two seeds and `digits` with one, clean protocol."""
    small = space.spec.by_name["cell"].size == 3
    name, seeds = ("digits3", 2) if small else ("digits", 1)
    seen = numbers(Tables(name), space, "clean", seeds, 0)
    return ToldOfAllOthers(space, candidates=candidates, errors=seen.seen[:, :2], seed=seed)
