"""Search on a supernet whose paths are trained fairly."""

from __future__ import annotations

from moml.nas.executor import MixedCell
from moml.nas.method._base import GradientMethod, SearchComposition, SearchSetting, composed
from moml.nas.method._wanted import wanted
from moml.nas.relaxation import FairPaths, Gumbel
from moml.weighting import EW


class FairPathSearch(GradientMethod):
    """Weights see every operation of every edge equally often; the mixture is drawn as in GDAS.

    Chu, Zhang & Xu, `FairNAS: Rethinking Evaluation Fairness of Weight Sharing Neural Architecture
    Search <https://arxiv.org/abs/1907.01845>`_, ICCV 2021, for the lower level: what the
    architecture parameters prefer does not decide which weights are trained.

    Args:
        robust: Train on perturbed samples and add the adversarial validation loss as an objective.
    """

    paper = "Chu et al., FairNAS: Rethinking Evaluation Fairness of Weight Sharing NAS, ICCV 2021"

    def __init__(self, *, robust: bool = True) -> None:
        self.robust = robust

    def compose(self, setting: SearchSetting) -> SearchComposition:
        """Fair paths below, drawn paths above."""
        return composed(
            setting,
            wanted(robust=self.robust),
            EW(),
            executor=MixedCell,
            relaxation=Gumbel(),
            lower_relaxation=FairPaths(),
            adversarial_training=self.robust,
        )
