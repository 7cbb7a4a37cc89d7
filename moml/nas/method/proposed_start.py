"""Bayesian search, started with what a search by gradient proposes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from moml._support import checks
from moml.nas.genotype import Genotype
from moml.nas.method._base import GradientMethod, SearchComposition, SearchMethod, SearchSetting
from moml.nas.method.e2rnas import E2RNAS
from moml.nas.outer import OuterSearch, ParetoSearch
from moml.weighting import EW

BANDS = 30  # ranges of size from which the proposals are taken


class ProposedStart(SearchMethod):
    """`ParetoSearch` whose first questions are a search by gradient's proposals, over all sizes.

    The steps of the search train that method's supernet, with equal weights unless others are
    given. That is not shown to pay where trainings are short: on NB-Digits's thousand cells it is
    ahead of the plain search by the numbers that it sees, and not by those of other trainings of
    the same cells (docs/nas.md).

    Args:
        by: The search by gradient.
        first: Number of its proposals.
        cost: What its supernet cost, in trainings of one network; charged to the budget.

    Raises:
        ValueError: If there is no proposal.
    """

    weighs = True

    def __init__(
        self, by: GradientMethod | None = None, *, first: int = 8, cost: float = 0.0
    ) -> None:
        checks.whole("first", first, least=1)
        self.by, self.first, self.cost = by or E2RNAS(), first, cost

    def compose(self, setting: SearchSetting) -> SearchComposition | None:
        """The search by gradient."""
        return self.by.compose(replace(setting, weighting=setting.weighting or EW()))

    def outer(self, setting: SearchSetting, learnt: SearchComposition | None) -> OuterSearch:
        """The Bayesian search."""
        listed = self.by.outer(replace(setting, budget=BANDS), learnt)
        return ParetoSearch(
            setting.space,
            seed=setting.seed,
            first=spread(listed.pool or ())[: self.first],
            prior_cost=self.cost,
        )


def spread(genotypes: Sequence[Genotype]) -> list[Genotype]:
    """From small to large reordered so that any first part is spread over the sizes."""
    order = sorted(range(len(genotypes)), key=lambda i: int(f"{i:08b}"[::-1], 2))
    return [genotypes[i] for i in order]
