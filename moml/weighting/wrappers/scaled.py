"""Losses scaled by one method, combined by another."""

from __future__ import annotations

from torch import Tensor

from moml._support import checks
from moml.gradients.task_gradients import Evaluation
from moml.weighting._base import LossWeighting, Needs, Weighting
from moml.weighting._capture import Capture
from moml.weighting.si import SI
from moml.weighting.wrappers._base import _COST, Wrapper


class Scaled(Wrapper):
    """Scales every loss by a loss weighting's weight, then combines the scaled gradients.

    The two axes of the field in one step: ``Scaled(CAGrad(), scaling=UW())`` learns the losses'
    scales and averts conflicts between what is left. ``Scaled(MGDA(), scaling=SI())`` is log-MGDA:
    the minimum-norm point of the gradients of the losses' logarithms. Logged weights are those on
    the raw losses.

    Args:
        weighting: Combines the scaled gradients; any method without learnable parameters.
        scaling: Scales the losses; the logarithm (`SI`) unless given.
    """

    def __init__(self, weighting: Weighting, *, scaling: LossWeighting | None = None) -> None:
        super().__init__(weighting)
        self.scaling = SI() if scaling is None else scaling
        checks.instance("scaling", self.scaling, Weighting, "a weighting such as `UW()`")

    @property
    def own_needs(self) -> Needs:  # type: ignore[override]
        """What the scaling looks at."""
        return max("losses", self.scaling.needs, key=_COST.index)

    def _allocate(self, num_tasks: int) -> None:
        super()._allocate(num_tasks)
        self.scaling.setup(self.names)
        if next(self.weighting.parameters(), None) is not None:
            raise ValueError(
                "`weighting` inside Scaled should have no learnable parameters, found "
                f"{type(self.weighting).__name__}. Use it as `scaling`."
            )

    def update(self, evaluation: Evaluation) -> Tensor | None:
        """Scale, then let the method inside combine."""
        factors = Capture.weights_of(self.scaling, evaluation)  # (m,)
        weights = self.weighting.update(evaluation.scaled(factors))
        return None if weights is None else weights.double().cpu() * factors

    def penalty(self, losses: Tensor, *, tasks: Tensor | None = None) -> Tensor | None:
        """That of the scaling."""
        return self.scaling.penalty(losses, tasks=tasks)

    def learn(self, losses: Tensor, *, tasks: Tensor | None = None) -> None:
        """As the scaling does."""
        self.scaling.learn(losses, tasks=tasks)
