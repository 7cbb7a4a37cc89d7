"""Evolution in which the oldest die."""

from __future__ import annotations

from moml.nas import outer
from moml.nas.method._base import OuterMethod


class RegularizedEvolution(OuterMethod):
    """Mutants of good architectures; the oldest leave the population."""

    paper = "Real et al., Regularized Evolution for Image Classifier Architecture Search, AAAI 2019"

    search = outer.RegularizedEvolution
