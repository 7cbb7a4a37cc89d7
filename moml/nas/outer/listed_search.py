"""A list of architectures, one after the other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from moml.nas.genotype import Genotype
from moml.nas.outer._base import OuterSearch
from moml.nas.search_space import SearchSpace


class ListedSearch(OuterSearch):
    """Asks for given architectures in their order: what a search by gradient has proposed.

    Args:
        space: Where they come from.
        proposals: The architectures; of those that compute the same function the first counts.
        cost: What it cost to propose them, in trainings.
        arguments: Of `OuterSearch`.
    """

    def __init__(
        self,
        space: SearchSpace,
        proposals: Sequence[Genotype],
        *,
        cost: float = 0.0,
        **arguments: Any,
    ) -> None:
        unique = {space.key(genotype): genotype for genotype in reversed(proposals)}
        kept = [g for g in proposals if unique[space.key(g)] is g]
        super().__init__(space, candidates=kept, **arguments)
        self.cost = cost

    def propose(self) -> Genotype:
        """An architecture that is new."""
        assert self.pool is not None
        return next(genotype for genotype in self.pool if self.is_new(genotype))
