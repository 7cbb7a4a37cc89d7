"""Search with a quarter of the channels and weights of edges."""

from __future__ import annotations

from moml.nas.executor import PartialCell
from moml.nas.method._base import GradientMethod, SearchComposition, SearchSetting, composed
from moml.nas.method._wanted import wanted
from moml.nas.relaxation import EdgeNormalised, Softmax
from moml.weighting import EW


class PCDARTS(GradientMethod):
    """DARTS on part of the channels, with normalised weights of edges.

    Xu et al., `PC-DARTS: Partial Channel Connections for Memory-Efficient Architecture Search
    <https://arxiv.org/abs/1907.05737>`_, ICLR 2020. First order.

    Args:
        robust: Train on perturbed samples and add the adversarial validation loss as an objective.
    """

    paper = "Xu et al., PC-DARTS: Partial Channel Connections, ICLR 2020"

    def __init__(self, *, robust: bool = True) -> None:
        self.robust = robust

    def compose(self, setting: SearchSetting) -> SearchComposition:
        """Partial channels and edge normalisation on top of the softmax."""
        return composed(
            setting,
            wanted(robust=self.robust),
            EW(),
            executor=PartialCell,
            relaxation=EdgeNormalised(Softmax()),
            adversarial_training=self.robust,
        )
