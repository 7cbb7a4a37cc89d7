"""Evolution in which the oldest die."""

from __future__ import annotations

from moml.nas import outer
from moml.nas.method._base import SearchComposition, SearchMethod, SearchSetting


class RegularizedEvolution(SearchMethod):
    """Mutants of good architectures; the oldest leave the population."""

    paper = "Real et al., Regularized Evolution for Image Classifier Architecture Search, AAAI 2019"

    def compose(self, setting: SearchSetting) -> SearchComposition | None:
        """Nothing is learnt beforehand."""
        return None

    def outer(self, setting: SearchSetting, learnt: SearchComposition | None) -> outer.OuterSearch:
        """The search itself."""
        return outer.RegularizedEvolution(setting.space, seed=setting.seed)
