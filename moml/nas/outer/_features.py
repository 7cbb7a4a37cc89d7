r"""What a Gaussian process sees of an architecture: kernels of its aspects.

* *Size*: linear in the logarithm of the number of parameters.
* *Paths*: :math:`\lvert A \cap B\rvert / \lvert A \cup B\rvert` of the sets of operation sequences
  along paths from an input to the output, identities left out (the path encoding of White,
  Neiswanger, Savani, `BANANAS <https://arxiv.org/abs/1910.11858>`_, AAAI 2021).
* *Shape*: linear, and squared exponential, in how far, how deep, how heavy and how many paths are.

A prior's numbers, if there are any, come last, linear.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch

from moml.nas.cell import CellSpec, Choice
from moml.nas.genotype import Genotype
from moml.nas.ops import get_op
from moml.nas.search_space import SearchSpace

Prior = Callable[[Genotype], Sequence[float]]
Path = tuple[str, ...]


@dataclass(frozen=True)
class Rows:
    """Aspects of some architectures, one row each."""

    size: np.ndarray
    shape: np.ndarray
    prior: np.ndarray
    paths: tuple[np.ndarray, ...]  # numbers of the paths of each


class GenotypeFeatures:
    """Kernels between architectures of a space.

    Args:
        space: The space.
        sample: Architectures from which scales are learnt.
        prior: What is known of an architecture beyond its graph.
    """

    def __init__(
        self, space: SearchSpace, sample: Sequence[Genotype], *, prior: Prior | None = None
    ) -> None:
        self.space, self.prior = space, prior
        self._known: dict[Genotype, tuple[list[float], np.ndarray]] = {}
        self._numbers: dict[tuple[str, Path], int] = {}  # of paths, by their cell's name
        raw = np.array([self._look(genotype)[0] for genotype in sample])
        self._center, self._scale = raw.mean(0), np.maximum(raw.std(0), 1e-9)

    def of(self, genotypes: Sequence[Genotype]) -> Rows:
        """What these architectures look like."""
        looks = [self._look(genotype) for genotype in genotypes]
        scaled = (np.array([numbers for numbers, _ in looks]) - self._center) / self._scale
        return Rows(
            size=scaled[:, :1],
            shape=scaled[:, 1 : 1 + SHAPE * len(self.space.spec.cells)],
            prior=scaled[:, 1 + SHAPE * len(self.space.spec.cells) :],
            paths=tuple(paths for _, paths in looks),
        )

    def kernels(self, a: Rows, b: Rows) -> np.ndarray:
        """Between two sets of architectures, ``(aspects, len(a), len(b))``."""
        apart = ((a.shape[:, None] - b.shape[None]) ** 2).mean(2)
        aspects = [
            a.size @ b.size.T,
            self._jaccard(a, b),
            a.shape @ b.shape.T / a.shape.shape[1],
            np.exp(-0.5 * apart),
        ]
        return np.stack([*aspects, a.prior @ b.prior.T] if self.prior else aspects)

    def own(self, a: Rows) -> np.ndarray:
        """Of every architecture with itself, ``(aspects, len(a))``."""
        ones = np.ones(len(a.size))
        aspects = [
            (a.size**2).sum(1),
            ones,
            (a.shape**2).mean(1),
            ones,
        ]
        return np.stack([*aspects, (a.prior**2).sum(1)] if self.prior else aspects)

    def _look(self, genotype: Genotype) -> tuple[list[float], np.ndarray]:
        if genotype not in self._known:
            numbers = [float(np.log(self.space.num_parameters(genotype)))]
            found: set[int] = set()
            for name, choice in genotype.cells:
                cell = self.space.spec.by_name[name]
                paths = _paths(cell, cell.live(choice))
                numbers += _shape(paths)
                known = self._numbers
                found |= {known.setdefault((name, path), len(known)) for path in paths}
            if self.prior is not None:
                numbers += list(self.prior(genotype))
            self._known[genotype] = (numbers, np.array(sorted(found)))
        return self._known[genotype]

    def _jaccard(self, a: Rows, b: Rows) -> np.ndarray:
        left, right = self._coded(a), self._coded(b)
        common = left @ right.T
        union = left.sum(1)[:, None] + right.sum(1)[None] - common
        return common / np.maximum(union, 1.0)

    def _coded(self, rows: Rows) -> np.ndarray:
        """One if a path is there, ``(rows, paths)``."""
        code = np.zeros((len(rows.paths), len(self._numbers)))
        lengths = [len(paths) for paths in rows.paths]
        code[np.repeat(np.arange(len(lengths)), lengths), np.concatenate(rows.paths)] = 1.0
        return code


def _paths(cell: CellSpec, live: Choice) -> list[Path]:
    """Operations along every path from an input to a node of the output, identities left out."""
    ending: dict[int, list[Path]] = {node: [()] for node in range(cell.inputs)}
    for node in range(cell.inputs, cell.size):
        ending[node] = [
            path if get_op(op).is_identity and cell.stride(edge) == 1 else (*path, op)
            for edge, op in live
            if edge[1] == node
            for path in ending[edge[0]]
        ]
    return [path for node in cell.outputs for path in ending[node]]


@cache
def _weight(op: str) -> float:
    return float(np.log1p(get_op(op).parameters(4)))


@cache
def _reach(op: str) -> int:
    """How many pixels to each side an output depends on: looked up in the gradient."""
    side, middle = 31, 15
    with torch.random.fork_rng(devices=[]), torch.enable_grad():
        torch.manual_seed(0)
        module = get_op(op).build(4).eval()
        x = torch.randn(16, 4, side, side, requires_grad=True)
        y = module(x)
        if not y.requires_grad:
            return 0
        (gradient,) = torch.autograd.grad(y[..., middle, middle].sum(), x)
    rows = gradient.abs().sum((0, 1, 3)).nonzero()[:, 0]
    return int((rows - middle).abs().max()) if len(rows) else 0


SHAPE = 7


def _shape(paths: Sequence[Path]) -> list[float]:
    """How far, long and heavy paths are at most, their operations with weights, their number."""
    if not paths:  # the output does not depend on the input
        return [0.0] * SHAPE
    weighted = [sum(_weight(op) > 0 for op in path) for path in paths]
    return [
        float(max(sum(map(_reach, path)) for path in paths)),
        float(max(map(len, paths))),
        float(max(weighted)),
        float(min(weighted)),
        max(sum(map(_weight, path)) for path in paths),
        float(len(paths)),
        float(len(set(paths))),
    ]
