"""Gradients brought to a comparable size before they are weighed."""

from __future__ import annotations

from typing import get_args

from torch import Tensor

from moml._support import checks
from moml.gradients.task_gradients import Evaluation
from moml.weighting._base import Needs, Weighting
from moml.weighting._normalization import Normalization, gradient_factors
from moml.weighting.wrappers._base import Recorder, Wrapper


class GradientNormalization(Wrapper):
    r"""Divides each task's gradient by its norm, its loss, or both before the weighting sees it.

    The options of Sener & Koltun's MGDA for any method: each loss is multiplied by a constant of
    the step. A task whose norm or loss is zero gets the smallest factor of the others.

    Args:
        weighting: The method that sees normalised losses and gradients.
        by: ``l2``, ``loss``, ``loss+`` (both) or ``none``.
        apply: Whether the normalised gradients are also what is combined (LibMTL for parameter
            gradients), or the weights go to the raw ones (Sener & Koltun). Logged weights are
            always those on the raw losses.
    """

    def __init__(
        self, weighting: Weighting, *, by: Normalization = "l2", apply: bool = True
    ) -> None:
        super().__init__(weighting)
        self.by = checks.choice("by", by, get_args(Normalization))
        self.apply_factors = checks.flag("apply", apply)

    @property
    def own_needs(self) -> Needs:  # type: ignore[override]
        """The Gramian where norms are used."""
        return "gramian" if self.by in ("l2", "loss+") else "losses"

    def update(self, evaluation: Evaluation) -> Tensor | None:
        """Let the weighting inside see and, if asked, combine normalised gradients."""
        gramian = evaluation.gramian if self.own_needs == "gramian" else None
        factors = gradient_factors(self.by, gramian=gramian, losses=evaluation.losses)  # (m,)
        scaled = evaluation.scaled(factors)
        if self.apply_factors:
            weights = self.weighting.update(scaled)
            return None if weights is None else weights.double().cpu() * factors
        recorder = Recorder(scaled, lambda weights: weights / factors, self)
        self.weighting.update(recorder)
        return recorder.weights() * factors
