"""Evolution in which the oldest die, with several objectives."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from moml.nas.genotype import Genotype
from moml.nas.outer._base import OuterSearch
from moml.nas.outer._ranking import crowded_order

MOST_MUTATIONS = 200


class RegularizedEvolution(OuterSearch):
    """Mutates the best of a few drawn from the most recent architectures.

    Real, Aggarwal, Huang, Le, `Regularized evolution for image classifier architecture search
    <https://arxiv.org/abs/1802.01548>`_, AAAI 2019. With several objectives the best is that of the
    first non-dominated layer with the most space around it, as in NSGA-II. Mutants that were
    trained before are mutated again, so no training is wasted. Trainings that run side by side
    are those of the paper's asynchronous workers: parents are chosen among what is known by then.

    Args:
        space: As in `OuterSearch`, as are all others.
        population: How many of the most recent architectures may have children.
        sample: How many of them are compared.
        arguments: Of `OuterSearch`.

    Raises:
        ValueError: If a number is too small.
    """

    def __init__(
        self, space: Any, *, population: int = 10, sample: int = 3, **arguments: Any
    ) -> None:
        super().__init__(space, **arguments)
        if not 1 <= sample <= population:
            raise ValueError(
                f"`sample` should be between 1 and `population`, found {sample} and {population}."
            )
        self.population, self.sample = population, sample

    def propose(self) -> Genotype:
        """An architecture that is new."""
        begun = len(self.history) + len(self.pending)
        if begun < self.population or len(self.history) < self.sample:
            return self.any_new()
        recent = self.history[-self.population :]
        drawn = torch.randperm(len(recent), generator=self.generator)[: self.sample].tolist()
        points = np.array([recent[i].objectives for i in drawn])
        child = recent[drawn[int(crowded_order(points)[0])]].genotype
        for _ in range(MOST_MUTATIONS):
            child = self.space.mutate(child, self.generator)
            if self.is_new(child):
                return child
        return self.any_new()
