"""Architectures at random, from all sizes."""

from __future__ import annotations

from moml.nas import outer
from moml.nas.method._base import OuterMethod


class StratifiedSearch(OuterMethod):
    """Architectures drawn at random from ranges of sizes in turn: the best start there is."""

    search = outer.StratifiedSearch
