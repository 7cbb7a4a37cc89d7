"""Search along one drawn path at a time."""

from __future__ import annotations

from moml.nas.executor import MixedCell
from moml.nas.method._base import GradientMethod, SearchComposition, SearchSetting, composed
from moml.nas.method._wanted import wanted
from moml.nas.relaxation import Gumbel
from moml.weighting import EW


class GDAS(GradientMethod):
    """One operation per edge and step, drawn by the Gumbel trick: many times faster than DARTS.

    Dong & Yang, `Searching for A Robust Neural Architecture in Four GPU Hours
    <https://arxiv.org/abs/1910.04465>`_, CVPR 2019. First order.

    Args:
        robust: Train on perturbed samples and add the adversarial validation loss as an objective.
    """

    paper = "Dong & Yang, Searching for A Robust Neural Architecture in Four GPU Hours, CVPR 2019"

    def __init__(self, *, robust: bool = True) -> None:
        self.robust = robust

    def compose(self, setting: SearchSetting) -> SearchComposition:
        """One-hot weights; operations that were not drawn are not run."""
        return composed(
            setting,
            wanted(robust=self.robust),
            EW(),
            executor=MixedCell,
            relaxation=Gumbel(),
            adversarial_training=self.robust,
        )
