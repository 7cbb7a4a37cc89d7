"""Weights rescaled to a fixed sum."""

from __future__ import annotations

from typing import Literal, get_args

from torch import Tensor

from moml._support import checks
from moml.gradients.task_gradients import Evaluation
from moml.weighting._base import Weighting
from moml.weighting.wrappers._base import Recorder, Wrapper

Total = Literal["one", "tasks"]


class WeightSum(Wrapper):
    """Rescales the applied weights to sum to 1, or to the number of tasks present.

    Methods disagree on this sum (K for equal weighting, 1 for MGDA), a hidden factor K on the
    learning rate of plain SGD; with the same sum a comparison is fair. Weights whose sum is not
    positive are left as they are.

    Args:
        weighting: The method that computes weights.
        total: ``one`` or ``tasks``.
    """

    def __init__(self, weighting: Weighting, *, total: Total = "tasks") -> None:
        super().__init__(weighting)
        self.total = checks.choice("total", total, get_args(Total))

    def update(self, evaluation: Evaluation) -> Tensor:
        """Apply the rescaled weights."""
        recorder = Recorder(evaluation, self._rescaled, self)
        self.weighting.update(recorder)
        return recorder.weights()

    def _rescaled(self, weights: Tensor) -> Tensor:
        total = 1.0 if self.total == "one" else float(len(weights))
        largest = weights.abs().max()  # first, so that tiny or huge weights have a finite sum
        if not largest > 0.0:
            return weights
        scaled = weights / largest
        return scaled * (total / scaled.sum()) if scaled.sum() > 0.0 else weights
