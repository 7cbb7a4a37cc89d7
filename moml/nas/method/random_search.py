"""Architectures at random."""

from __future__ import annotations

from moml.nas import outer
from moml.nas.method._base import OuterMethod


class RandomSearch(OuterMethod):
    """Architectures drawn at random: the baseline that naive searches by gradient lose to."""

    search = outer.RandomSearch
