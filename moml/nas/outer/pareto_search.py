"""Bayesian search for a whole front, in which sizes are known and only errors are uncertain."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from moml._support import checks
from moml.nas.genotype import Genotype
from moml.nas.outer._base import SIZES_FROM, OuterSearch
from moml.nas.outer._expected_improvement import expected_improvement
from moml.nas.outer._features import GenotypeFeatures, Prior
from moml.nas.outer._gaussian_process import NOISE, GaussianProcess
from moml.nas.outer.stratified_search import Strata

MARGIN = 1.05  # of a derived reference point over the largest value
LEAST = 1e-3  # of an objective, as a share of the reference: its logarithm is modelled
OPTIONS = 30  # compared for each place in the start where the space cannot be listed


class ParetoSearch(OuterSearch):
    """Proposes the architecture that is expected to add most to the hypervolume.

    A Gaussian process for the logarithm of every measured objective sees size, paths and shape of
    an architecture, and learns how much each of them matters. Expected hypervolume improvement is
    exact, and known objectives are not guessed but numbers (Emmerich, Deutz, Klinkenberg,
    "Hypervolume-based expected improvement: monotonicity properties and exact computation", CEC
    2011, for the uncertain part). It starts with one architecture of each of a few ranges of size,
    those that tell most about all others. How many trainings that saves is in ``docs/nas.md``.

    Of architectures that are pending the search believes its own predictions ("Kriging believer"),
    so that the next proposal looks elsewhere; the start spreads over whatever is asked for before
    enough is reported.

    Fails to help in the first few trainings, and where neither size nor paths say anything about
    the errors. Objectives may not be negative. A proposal takes time cubic in the trainings
    reported, and linear in the architectures that can be listed.

    Args:
        space: As in `OuterSearch`, as are all others.
        reference: Reference point of the hypervolume, measured objectives first. Unless given, it
            is 1.05 times the largest for those that are known, and 1 for those that are measured
            as long as the front fits in: if it goes beyond 1, or nothing reported so far is above
            0.001, 1.05 times the front's largest, which the log says once.
        start: Architectures before the first model, one of each range of size.
        prior: Numbers that a gate or a proxy gives an architecture; the marginal likelihood decides
            how much they matter.
        prior_cost: What the prior, or those asked first, cost in trainings; `run` charges it.
        first: Architectures to propose before all others, such as a search by gradient proposes;
            with ``start`` of them there is no other start.
        proposals: Architectures compared for each proposal where the space cannot be listed; half
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
        start: int = 4,
        prior: Prior | None = None,
        prior_cost: float = 0.0,
        first: Sequence[Genotype] = (),
        proposals: int = 500,
        **arguments: Any,
    ) -> None:
        super().__init__(space, **arguments)
        checks.whole("start", start, least=2)
        if prior_cost < 0 or proposals < 2:
            raise ValueError(
                "`prior_cost` should be at least 0 and `proposals` at least 2, "
                f"found {prior_cost} and {proposals}."
            )
        self.start, self.cost, self.proposals = start, prior_cost, proposals
        self.first = tuple(first)
        self._sample = self._all_or_some()
        self._features = GenotypeFeatures(space, self._sample, prior=prior)
        self._strata = Strata(self, start)
        self._declared = reference is not None
        if reference is None:
            known = np.array([self.known_of(g) for g in self._sample])
            reference = [1.0] * self.measured + (MARGIN * known.max(0)).tolist()
        if len(reference) != self.measured + len(self.known):
            raise ValueError(
                f"`reference` should have {self.measured + len(self.known)} numbers, "
                f"found {len(reference)}."
            )
        if not (np.array(reference, float) > 0).all():
            raise ValueError(f"`reference` should be above 0, found {list(reference)}.")
        self._reference, self._said = np.array(reference, float), False

    @property
    def reference(self) -> np.ndarray:
        """Reference point of the hypervolume: as declared, or as what is reported asks for."""
        if self._declared or not self.history:
            return self._reference
        front = np.array([trained.objectives for trained in self.front()])
        largest = np.max([trained.objectives for trained in self.history], 0)
        derived = self._reference.copy()
        for m in range(self.measured):
            beyond, below = front[:, m].max() > 1.0, 0.0 < largest[m] < LEAST
            if beyond or below:
                derived[m] = MARGIN * (front[:, m].max() if beyond else largest[m])
        if not self._said and (derived != self._reference).any():
            self._said = True
            logging.getLogger("moml").warning(
                "ParetoSearch takes the reference point %s: the measured objectives do not fit "
                "into [%g, 1]. `reference` declares another one.", derived.tolist(), LEAST,
            )  # fmt: skip
        return derived

    def _checked(self, errors: Sequence[float]) -> list[float]:
        values = super()._checked(errors)
        if min(values) < 0:
            raise ValueError(
                f"`errors` should be at least 0, found {values}. Their logarithms are modelled."
            )
        return values

    def propose(self) -> Genotype:
        """An architecture that is new."""
        if (given := next(filter(self.is_new, self.first), None)) is not None:
            return given
        if len(self.history) < self.start:
            return self._telling(self._strata.options(self.proposed, most=OPTIONS))
        candidates = self.new_pool() if self.pool is not None else self._proposals()
        gains = self._gains(candidates)
        best = np.flatnonzero(gains >= gains.max())
        return candidates[int(best[self.below(len(best))])]

    def _gains(self, candidates: Sequence[Genotype]) -> np.ndarray:
        """Expected hypervolume improvement of every candidate, as a share of the reference box."""
        told, reference = len(self.history), self.reference
        there = self._features.of(self._begun())
        new = self._features.of(candidates)
        inner, cross = self._features.kernels(there, there), self._features.kernels(new, there)
        own_there, own_new = self._features.own(there), self._features.own(new)
        points = self._points() / reference
        mean = np.empty((len(candidates), points.shape[1]))
        deviation = np.zeros_like(mean)
        for m in range(self.measured):
            logs = np.log(np.maximum(points[:told, m], LEAST))
            process = GaussianProcess(inner[:, :told, :told], logs)
            if self.pending:
                process = process.believing(inner)
            mean[:, m], deviation[:, m] = process.predict(cross, own_new)
            smooth, doubt = process.predict(inner, own_there)
            points[:, m] = np.exp(smooth + 0.5 * doubt**2)  # without the noise of one training
        known = np.array([self.known_of(genotype) for genotype in candidates])
        known = known.reshape(len(candidates), -1) / reference[self.measured :]
        mean[:, self.measured :] = np.log(known)
        return expected_improvement(mean, deviation, points, np.ones(len(reference)))

    def _telling(self, options: Sequence[Genotype]) -> Genotype:
        """Of these the one that leaves the least variance in all, by the plain mean of kernels.

        The very first is drawn at random, so that searches with different seeds differ.
        """
        begun = self._begun()
        if not begun:
            return options[self.below(len(options))]
        rows = self._features.of([*begun, *options])
        inner = self._features.kernels(rows, rows).mean(0)
        between = self._features.kernels(self._features.of(self._sample), rows).mean(0)
        told, explained = list(range(len(begun))), []
        for option in range(len(told), len(inner)):
            these = [*told, option]
            covariance = inner[np.ix_(these, these)] + NOISE * np.eye(len(these))
            part = between[:, these]
            explained.append((part * np.linalg.solve(covariance, part.T).T).sum())
        return options[int(np.argmax(explained))]

    def _begun(self) -> list[Genotype]:
        """Architectures that are reported, and behind them those that are pending."""
        return [*(trained.genotype for trained in self.history), *self.pending]

    def _points(self) -> np.ndarray:
        """Objectives of what has begun; measured ones of what is pending are to be filled in."""
        empty = (np.nan,) * self.measured
        guessed = [(*empty, *self.known_of(genotype)) for genotype in self.pending]
        return np.array([*(trained.objectives for trained in self.history), *guessed])

    def _all_or_some(self) -> tuple[Genotype, ...]:
        """Architectures to learn scales from, the same for every seed of the search."""
        if self.pool is not None:
            return self.pool
        own = torch.Generator().manual_seed(0)
        return tuple(self.space.sample(own) for _ in range(SIZES_FROM))

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
