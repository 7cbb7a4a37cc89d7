"""Evolution by non-dominated sorting."""

from __future__ import annotations

from moml.nas import outer
from moml.nas.method._base import SearchComposition, SearchMethod, SearchSetting


class NSGA2(SearchMethod):
    """Evolution by non-dominated sorting and crowding."""

    paper = "Deb et al., A Fast and Elitist Multiobjective Genetic Algorithm: NSGA-II, 2002"

    def compose(self, setting: SearchSetting) -> SearchComposition | None:
        """Nothing is learnt beforehand."""
        return None

    def outer(self, setting: SearchSetting, learnt: SearchComposition | None) -> outer.OuterSearch:
        """The search itself."""
        return outer.NSGA2(setting.space, seed=setting.seed)
