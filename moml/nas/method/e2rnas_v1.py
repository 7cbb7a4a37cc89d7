"""Effective, efficient and robust search, in its first form."""

from __future__ import annotations

from moml.bilevel import FiniteDifference, Hypergradient
from moml.nas.method._base import GradientMethod, SearchComposition, SearchSetting, composed
from moml.nas.method.e2rnas import uniform_size
from moml.nas.objective import CleanLoss, SizeLimits
from moml.weighting import MGDA
from moml.weighting.wrappers import GradientNormalization


class E2RNASv1(GradientMethod):
    """Robustness in the lower level, validation loss and size above, traded off by MGDA.

    Yue, Lin, Huang & Zhang, `Effective, Efficient and Robust Neural Architecture Search
    <https://arxiv.org/abs/2011.09820>`_, 2020: weights are trained on samples perturbed by the fast
    gradient sign method; the size counts while it breaks its limit. In the released code the limit
    is a lower bound that a wrong count satisfies from the start; here the count is the exact
    expectation, gradients have unit length, and a satisfied limit has no row.

    Args:
        largest: Largest expected number of parameters; that of a uniform mixture unless given.
        lowest: Smallest one, which is what the released code bounds.
        hypergradient: How the virtual step is differentiated.
    """

    paper = "Yue et al., Effective, Efficient and Robust Neural Architecture Search, 2020"

    def __init__(
        self,
        largest: float | None = None,
        *,
        lowest: float | None = None,
        hypergradient: Hypergradient | None = None,
    ) -> None:
        self.largest, self.lowest, self.hypergradient = largest, lowest, hypergradient

    def compose(self, setting: SearchSetting) -> SearchComposition:
        """Two objectives, of which the size comes and goes."""
        largest = self.largest
        if largest is None and self.lowest is None:
            largest = uniform_size(setting)
        limits = SizeLimits(lowest=self.lowest, largest=largest)
        return composed(
            setting,
            {"clean": CleanLoss(), "size": limits},
            GradientNormalization(MGDA(), by="l2"),
            hypergradient=self.hypergradient or FiniteDifference(),
            adversarial_training=True,
            direct_rows=True,
        )
