"""Differentiable architecture search with a softmax over operations."""

from __future__ import annotations

from moml.bilevel import Hypergradient
from moml.nas.method._base import GradientMethod, SearchComposition, SearchSetting, composed
from moml.nas.method._first_order import wanted
from moml.weighting import EW


class DARTS(GradientMethod):
    """All operations at once, weighted by a softmax; parameters of the mixture by gradient descent.

    Liu, Simonyan & Yang, `DARTS: Differentiable Architecture Search
    <https://arxiv.org/abs/1806.09055>`_, ICLR 2019. First order unless a hypergradient is given:
    `FiniteDifference` is the paper's second order, `Unrolled` the exact derivative of the same
    virtual step. On networks with ReLU the two disagree (docs/nas.md).

    Args:
        hypergradient: How the virtual step of the weights is differentiated.
        robust: Train on perturbed samples and add the adversarial validation loss as an objective.
    """

    paper = "Liu et al., DARTS: Differentiable Architecture Search, ICLR 2019"

    def __init__(self, hypergradient: Hypergradient | None = None, *, robust: bool = True) -> None:
        self.hypergradient, self.robust = hypergradient, robust

    def compose(self, setting: SearchSetting) -> SearchComposition:
        """A mixture of everything, equal weights of the objectives."""
        return composed(
            setting,
            wanted(robust=self.robust),
            EW(),
            hypergradient=self.hypergradient,
            adversarial_training=self.robust,
        )
