"""Architectures at random."""

from __future__ import annotations

from moml.nas import outer
from moml.nas.method._base import SearchComposition, SearchMethod, SearchSetting


class RandomSearch(SearchMethod):
    """Architectures drawn at random: the baseline that naive searches by gradient lose to."""

    def compose(self, setting: SearchSetting) -> SearchComposition | None:
        """Nothing is learnt beforehand."""
        return None

    def outer(self, setting: SearchSetting, learnt: SearchComposition | None) -> outer.OuterSearch:
        """The search itself."""
        return outer.RandomSearch(setting.space, seed=setting.seed)
