"""Search with mixtures drawn from learnt Dirichlet distributions."""

from __future__ import annotations

from moml.nas.method._base import GradientMethod, SearchComposition, SearchSetting, composed
from moml.nas.method._wanted import wanted
from moml.nas.relaxation import Dirichlet
from moml.weighting import EW


class DrNAS(GradientMethod):
    """Weights of the mixture are drawn from a Dirichlet distribution whose parameters are learnt.

    Chen, Wang, Cheng, Tang & Hsieh, `DrNAS: Dirichlet Neural Architecture Search
    <https://arxiv.org/abs/2006.10355>`_, ICLR 2021. First order; without the paper's progressive
    shrinking and without its penalty on concentrations.

    Args:
        robust: Train on perturbed samples and add the adversarial validation loss as an objective.
    """

    paper = "Chen et al., DrNAS: Dirichlet Neural Architecture Search, ICLR 2021"

    def __init__(self, *, robust: bool = True) -> None:
        self.robust = robust

    def compose(self, setting: SearchSetting) -> SearchComposition:
        """Draws explore; the mean is decoded."""
        return composed(
            setting,
            wanted(robust=self.robust),
            EW(),
            relaxation=Dirichlet(),
            adversarial_training=self.robust,
        )
