"""Searches that are DARTS in first order but for the mixture."""

from __future__ import annotations

from typing import ClassVar

from moml.nas.executor import BatchedCell
from moml.nas.method._base import GradientMethod, SearchComposition, SearchSetting, composed
from moml.nas.objective import AdversarialLoss, CleanLoss, SearchObjective
from moml.nas.relaxation import Relaxation
from moml.nas.supernet import MakeCell
from moml.weighting import EW


class FirstOrderMethod(GradientMethod):
    """Weights of a mixture by first-order gradients, the objectives weighted equally.

    Args:
        robust: Train on perturbed samples and add the adversarial validation loss as an objective.
    """

    relaxation: ClassVar[Relaxation]
    """What architecture parameters mean."""
    lower_relaxation: ClassVar[Relaxation | None] = None
    """What they mean while weights are trained, if it is something else."""
    executor: ClassVar[MakeCell] = BatchedCell
    """How a mixture is computed."""

    def __init__(self, *, robust: bool = True) -> None:
        self.robust = robust

    def compose(self, setting: SearchSetting) -> SearchComposition:
        """DARTS with this mixture."""
        return composed(
            setting,
            wanted(robust=self.robust),
            EW(),
            executor=type(self).executor,
            relaxation=self.relaxation,
            lower_relaxation=self.lower_relaxation,
            adversarial_training=self.robust,
        )


def wanted(*, robust: bool) -> dict[str, SearchObjective]:
    """The validation loss, and the same under attack."""
    return (
        {"clean": CleanLoss(), "adversarial": AdversarialLoss()}
        if robust
        else {"clean": CleanLoss()}
    )
