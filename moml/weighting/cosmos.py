"""COSMOS: linear scalarization that pulls the losses towards a preferred ray."""

from __future__ import annotations

from torch import Tensor

from moml._support import checks
from moml.weighting._base import LossWeighting
from moml.weighting._preference import Preference, given_per_task, preference_of, present_preference


class COSMOS(LossWeighting):
    r"""Weights of linear scalarization minus the cosine between losses and preference.

    Ruchte & Grabocka, `Scalable Pareto Front Approximation for Deep Multi-Objective Learning
    <https://arxiv.org/abs/2103.13392>`_, ICDM 2021:
    :math:`\sum_i r_i L_i - \lambda \cos(r, L)`. The paper also gives the preference to the network
    as an input, so that one network covers the front; that is a problem's matter. For large
    :math:`\lambda` weights may be negative: losses grow to align.

    Args:
        preference: r; losses are to be proportional to it. Equal unless given.
        pull: The factor :math:`\lambda`; 0.01 to 8 in the paper.

    LibMTL: none; TorchJD: ``COSMOS``.
    """

    traits = frozenset({"permutation", "scale_invariant", "linear_under_scaling"})
    paper = "Ruchte & Grabocka, Scalable Pareto Front Approximation (COSMOS), ICDM 2021"
    preference_is = "ray"
    preference: Tensor

    def __init__(self, *, preference: Preference = None, pull: float = 1.0) -> None:
        super().__init__()
        self.given = given_per_task(preference, argument="preference")
        self.pull = checks.number("pull", pull, least=0.0)

    def _allocate(self, num_tasks: int) -> None:
        preference = preference_of(self.given, self.names)
        self.register_buffer("preference", preference, persistent=False)

    def weights(self, losses: Tensor, *, tasks: Tensor | None = None) -> Tensor:
        """Derivatives of the objective, ``(m,)``."""
        self._check_bound()
        losses = losses.detach().double()
        preference = present_preference(self.preference, len(losses), tasks=tasks)
        length = losses.norm().clamp_min(1e-300)
        unit, target = losses / length, preference / preference.norm().clamp_min(1e-300)
        towards = (target - (target @ unit) * unit) / length  # derivative of the cosine
        return preference - self.pull * towards
