"""Architectures at random, from all sizes."""

from __future__ import annotations

from moml.nas import outer
from moml.nas.method._base import SearchComposition, SearchMethod, SearchSetting


class StratifiedSearch(SearchMethod):
    """Architectures drawn at random from ranges of sizes in turn: the best start there is."""

    def compose(self, setting: SearchSetting) -> SearchComposition | None:
        """Nothing is learnt beforehand."""
        return None

    def outer(self, setting: SearchSetting, learnt: SearchComposition | None) -> outer.OuterSearch:
        """The search itself."""
        return outer.StratifiedSearch(setting.space, seed=setting.seed)
