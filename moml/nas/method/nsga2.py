"""Evolution by non-dominated sorting."""

from __future__ import annotations

from moml.nas import outer
from moml.nas.method._base import OuterMethod


class NSGA2(OuterMethod):
    """Evolution by non-dominated sorting and crowding."""

    paper = "Deb et al., A Fast and Elitist Multiobjective Genetic Algorithm: NSGA-II, 2002"

    search = outer.NSGA2
