"""Bayesian search for a whole front, in which sizes are known and only errors are uncertain."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from moml.nas.genotype import Genotype
from moml.nas.outer._base import SIZES_FROM, OuterSearch
from moml.nas.outer._expected_improvement import expected_improvement
from moml.nas.outer._features import Features
from moml.nas.outer._gaussian_process import GaussianProcess
from moml.nas.outer.stratified_search import Strata

Prior = Callable[[Genotype], Sequence[float]]


class ParetoSearch(OuterSearch):
    """Asks for the architecture that is expected to add most to the hypervolume.

    A Gaussian process for every measured objective sees which operation each live edge carries and
    the logarithm of the size. Expected hypervolume improvement is exact, and known objectives are
    no Gaussians but numbers (Emmerich, Deutz, Klinkenberg, "Hypervolume-based expected improvement:
    monotonicity properties and exact computation", CEC 2011, for the uncertain part). The search
    starts with one architecture of each of five ranges of size. It needs two to three times fewer
    trainings than random search in the tables of `tasks.NBDigits` (`docs/nas.md`).

    Fails to help where size says nothing and the effects of edges do not add up, and before about
    eight trainings, when it knows no more than `StratifiedSearch`.

    Args:
        space: As in `OuterSearch`, as are all others.
        reference: Reference point of the hypervolume, measured objectives first: 1 for these, and
            1.05 times the largest for those that are known, unless given.
        start: Architectures before the first model, one of each range of size.
        prior: Numbers a gate or a proxy says about an architecture; the kernels of the size see
            them as well, and the marginal likelihood decides whether they count.
        prior_cost: What the prior cost, in trainings; `run` charges it.
        proposals: Architectures compared at each question where the space cannot be listed; half
            are drawn at random, half are mutants of the front.
        arguments: Of `OuterSearch`.

    Raises:
        ValueError: If a number is too small or the reference has another length.
    """

    def __init__(
        self,
        space: Any,
        *,
        reference: Sequence[float] | None = None,
        start: int = 5,
        prior: Prior | None = None,
        prior_cost: float = 0.0,
        proposals: int = 500,
        **arguments: Any,
    ) -> None:
        super().__init__(space, **arguments)
        if start < 2:
            raise ValueError(f"`start` should be at least 2, found {start}.")
        if prior_cost < 0 or proposals < 2:
            raise ValueError(
                "`prior_cost` should be at least 0 and `proposals` at least 2, "
                f"found {prior_cost} and {proposals}."
            )
        self.start, self.prior, self.cost, self.proposals = start, prior, prior_cost, proposals
        self._features = Features(space)
        self._strata = Strata(self, start)
        some = self.pool if self.pool is not None else self._some()
        self._rows_of: dict[Genotype, np.ndarray] = {}
        rows = self._rows(some)[:, len(self._features.columns) :]
        self._center, self._scale = rows.mean(0), np.maximum(rows.std(0), 1e-9)
        if reference is None:
            known = np.array([self.known_of(g) for g in some]).reshape(len(some), -1)
            reference = [1.0] * self.measured + (1.05 * known.max(0)).tolist()
        if len(reference) != self.measured + len(self.known):
            raise ValueError(
                f"`reference` should have {self.measured + len(self.known)} numbers, "
                f"found {len(reference)}."
            )
        self.reference = np.array(reference, float)

    def _propose(self) -> Genotype:
        if len(self.history) < self.start:
            return self._strata.draw(len(self.history))
        candidates = self.new_pool() if self.pool is not None else self._proposals()
        gains = self._gains(candidates)
        best = np.flatnonzero(gains >= gains.max())
        return candidates[int(best[self.below(len(best))])]

    def _gains(self, candidates: Sequence[Genotype]) -> np.ndarray:
        """Expected hypervolume improvement of every candidate, in units of the reference box."""
        told = self._rows([trained.genotype for trained in self.history])
        rows = self._rows(candidates)
        scaling = {"center": self._center, "scale": self._scale}
        inner = self._features.kernels(told, told, **scaling)
        cross = self._features.kernels(rows, told, **scaling)
        own = self._features.own(rows, **scaling)
        points = np.array([trained.objectives for trained in self.history])
        mean = np.empty((len(candidates), points.shape[1]))
        deviation = np.zeros_like(mean)
        for m in range(self.measured):
            process = GaussianProcess(inner, points[:, m])
            mean[:, m], deviation[:, m] = process.predict(cross, own)
        mean[:, self.measured :] = [self.known_of(genotype) for genotype in candidates]
        unit = self.reference
        return expected_improvement(mean / unit, deviation / unit, points / unit, unit / unit)

    def _rows(self, genotypes: Sequence[Genotype]) -> np.ndarray:
        new = [g for g in genotypes if g not in self._rows_of]
        if new:
            rows = self._features.of(new)
            if self.prior is not None:
                rows = np.column_stack([rows, [list(self.prior(g)) for g in new]])
            self._rows_of.update(zip(new, rows, strict=True))
        return np.stack([self._rows_of[g] for g in genotypes])

    def _some(self) -> list[Genotype]:
        """Architectures to learn scales from, the same for every seed of the search."""
        own = torch.Generator().manual_seed(0)
        return [self.space.sample(own) for _ in range(SIZES_FROM)]

    def _proposals(self) -> list[Genotype]:
        """New architectures at random, and mutants of the front, mutants of those included."""
        found = {self.space.key(g): g for g in (self.any_new() for _ in range(self.proposals // 2))}
        parents = [trained.genotype for trained in self.front()]
        for _ in range(self.proposals - self.proposals // 2):
            child = self.space.mutate(parents[self.below(len(parents))], self.generator)
            if self.is_new(child):
                found.setdefault(self.space.key(child), child)
                parents.append(child)
        return list(found.values())
