"""Random search, the baseline that differentiable search has to beat."""

from __future__ import annotations

from moml.nas.genotype import Genotype
from moml.nas.outer._base import OuterSearch


class RandomSearch(OuterSearch):
    """Every architecture that was not trained yet is as likely as any other.

    Li, Talwalkar, `Random search and reproducibility for neural architecture search
    <https://arxiv.org/abs/1902.07638>`_, UAI 2019. Where the space cannot be listed, strings are
    equally likely instead.
    """

    def propose(self) -> Genotype:
        """An architecture that is new."""
        return self.any_new()
