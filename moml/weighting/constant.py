"""Fixed weights: linear scalarization with a preference."""

from __future__ import annotations

from torch import Tensor

from moml.weighting._base import LossWeighting
from moml.weighting._preference import Preference, given_per_task, per_task, rows


class Constant(LossWeighting):
    """The same weights in every step, chosen by the user.

    Linear scalarization. A sweep over weights is the baseline that gradient methods have to beat
    (Xin et al., `Do Current Multi-Task Optimization Methods in Deep Learning Even Help?
    <https://arxiv.org/abs/2209.11379>`_, NeurIPS 2022). Whatever the weights, it reaches convex
    parts of a Pareto front only.

    Args:
        preference: A weight per task, in order or by name, applied as given; 1 each unless given.

    LibMTL: none; TorchJD: ``Constant``.
    """

    traits = frozenset({"permutation", "scale_invariant", "linear_under_scaling"})
    paper = "Xin et al., Do Current Multi-Task Optimization Methods Even Help?, NeurIPS 2022"
    preference_is = "importance"
    preference: Tensor

    def __init__(self, *, preference: Preference = None) -> None:
        super().__init__()
        self.given = given_per_task(preference, argument="preference")

    def _allocate(self, num_tasks: int) -> None:
        values = per_task(self.given, self.names, argument="preference", default=1.0)
        self.register_buffer("preference", values, persistent=False)

    def weights(self, losses: Tensor, *, tasks: Tensor | None = None) -> Tensor:
        """The weights given, ``(m,)``."""
        self._check_bound()
        return rows(self.preference, tasks)
