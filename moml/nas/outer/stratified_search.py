"""Random search spread over sizes: what is known for free is used, and nothing else."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from moml._support import checks
from moml.nas.genotype import Genotype
from moml.nas.outer._base import SIZES_FROM, OuterSearch

MOST_DRAWS = 1000


class StratifiedSearch(OuterSearch):
    """One random architecture from each of several ranges of size, again and again.

    The ranges hold equally many architectures; their order is drawn anew in every round. Sizes go a
    long way: in the tables of `tasks.NBDigits` they have a rank correlation of about −0.9 with both
    errors.

    Args:
        space: As in `OuterSearch`, as are all others.
        strata: Number of ranges.
        arguments: Of `OuterSearch`.

    Raises:
        ValueError: If there are no known objectives or too few ranges.
    """

    def __init__(self, space: Any, *, strata: int = 5, **arguments: Any) -> None:
        super().__init__(space, **arguments)
        checks.whole("strata", strata, least=2)
        self._strata = Strata(self, strata)

    def propose(self) -> Genotype:
        """An architecture that is new."""
        options = self._strata.options(self.proposed, most=1)
        return options[self.below(len(options))]


class Strata:
    """Ranges of size with equally many architectures.

    Args:
        search: Whose architectures.
        number: Number of ranges.
    """

    def __init__(self, search: OuterSearch, number: int) -> None:
        self.search, self.number = search, number
        pool = search.pool
        if pool is None:
            own = torch.Generator().manual_seed(0)  # sizes belong to the space, not to the run
            pool = tuple(search.space.sample(own) for _ in range(SIZES_FROM))
        sizes = [search.space.num_parameters(genotype) for genotype in pool]
        self.bounds = np.quantile(sizes, np.arange(1, number) / number)
        self._ranges = {g: self._of(size) for g, size in zip(pool, sizes, strict=True)}

    def options(self, turn: int, *, most: int) -> list[Genotype]:
        """New architectures of this turn's range, or of any if that is exhausted; at least one.

        Args:
            turn: How many were proposed before.
            most: How many to draw where the space cannot be listed.
        """
        round_, place = divmod(turn, self.number)
        order = torch.randperm(
            self.number, generator=torch.Generator().manual_seed(self._round_seed(round_))
        )
        wanted, search = int(order[place]), self.search
        if search.pool is not None:
            left = search.new_pool()
            return [g for g in left if self._range(g) == wanted] or left
        inside: dict[str, Genotype] = {}
        for _ in range(MOST_DRAWS):
            genotype = search.any_new()
            if self._range(genotype) == wanted:
                inside.setdefault(search.space.key(genotype), genotype)
            if len(inside) == most:
                break
        return list(inside.values()) or [search.any_new()]

    def _range(self, genotype: Genotype) -> int:
        if genotype in self._ranges:
            return self._ranges[genotype]
        return self._of(self.search.space.num_parameters(genotype))

    def _of(self, size: int) -> int:
        return int(np.searchsorted(self.bounds, size))

    def _round_seed(self, round_: int) -> int:
        return 1_000_003 * (self.search.generator.initial_seed() + 1) + round_
