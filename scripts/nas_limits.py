r"""What a search would start from that knew every cell of a table but the one it asks for.

python scripts/bench_nas.py --tables digits3:3 digits:1 --protocols clean \
    --method nas_limits:told_of_all_others

A method for `bench_nas.py`, and none for anything else: it reads the table. Each cell is predicted
by the Gaussian process of ParetoSearch from *all others*, trained or not (Rasmussen, Williams,
"Gaussian processes for machine learning", 2006, equations 5.10 to 5.12), and the cell of largest
expected hypervolume improvement is next. The predictions stay as they are: what size, paths and
shape do not tell, a search can still learn from the answers, and be ahead of this in the end.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from bench_nas import SPACES, numbers

from moml.nas import Genotype, SearchSpace
from moml.nas.outer import OuterSearch
from moml.nas.outer._expected_improvement import expected_improvement
from moml.nas.outer._features import GenotypeFeatures
from moml.nas.outer._gaussian_process import GaussianProcess
from tasks import NBDigits as Tables


@dataclass(frozen=True)
class Foretold:
    """Every cell's objectives as all others foretell them, in units of the reference point.

    Args:
        row: The place of a cell in what follows.
        mean: ``(cells, 3)``: logarithms of both errors and of the size, which is known.
        deviation: Theirs.
        reference: The reference point.
    """

    row: dict[Genotype, int]
    mean: np.ndarray
    deviation: np.ndarray
    reference: np.ndarray


class ToldOfAllOthers(OuterSearch):
    """Asks for the largest expected improvement, given all cells but one.

    Args:
        space: The space.
        candidates: The cells of the table.
        foretold: What all others say of each of them.
        seed: Of nothing but the first question.
    """

    def __init__(
        self, space: SearchSpace, *, candidates: Sequence[Genotype], foretold: Foretold, seed: int
    ) -> None:
        super().__init__(space, candidates=candidates, seed=seed)
        self.foretold = foretold

    def propose(self) -> Genotype:
        """An architecture that is new."""
        new, told = self.new_pool(), self.foretold
        if not self.history:
            return new[self.below(len(new))]
        rows = [told.row[genotype] for genotype in new]
        points = np.array([trained.objectives for trained in self.history]) / told.reference
        gains = expected_improvement(told.mean[rows], told.deviation[rows], points, np.ones(3))
        return new[int(gains.argmax())]


@cache  # the same in every repetition
def foretold_in(name: str, seeds: int) -> Foretold:
    """The predictions of a table, clean protocol."""
    space = SPACES[name]()
    table = numbers(Tables(name), space, "clean", seeds, 0)
    features = GenotypeFeatures(space, table.genotypes)
    rows = features.of(table.genotypes)
    kernels = features.kernels(rows, rows)
    logs = np.log(np.maximum(table.seen[:, :2], 1e-3))
    parts = [left_out(kernels, values) for values in logs.T]
    known = np.array([space.num_parameters(genotype) for genotype in table.genotypes], float)
    reference = np.array([1.0, 1.0, 1.05 * known.max()])
    return Foretold(
        row={genotype: row for row, genotype in enumerate(table.genotypes)},
        mean=np.stack([*(m for m, _ in parts), np.log(known / reference[2])], 1),
        deviation=np.stack([*(d for _, d in parts), np.zeros(len(known))], 1),
        reference=reference,
    )


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
    """For the tables `digits3` with three seeds and `digits` with one, clean protocol."""
    small = space.spec.by_name["cell"].size == 3
    foretold = foretold_in(*(("digits3", 3) if small else ("digits", 1)))
    return ToldOfAllOthers(space, candidates=candidates, foretold=foretold, seed=seed)
