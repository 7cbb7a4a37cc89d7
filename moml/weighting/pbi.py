"""Penalty-based boundary intersection: along a preferred ray, and near it."""

from __future__ import annotations

from torch import Tensor

from moml._support import checks
from moml.weighting._base import LossWeighting
from moml.weighting._preference import Preference, given_per_task, per_task, preference_of, rows


class PBI(LossWeighting):
    r"""Weights that shorten the way along a ray, and the distance to the ray.

    Zhang & Li, `MOEA/D: A Multiobjective Evolutionary Algorithm Based on Decomposition
    <https://doi.org/10.1109/TEVC.2007.892759>`_, 2007. With the unit vector r of the preference and
    the ideal point z: :math:`d_1 + \theta d_2`, :math:`d_1 = (L - z)^\top r`, :math:`d_2 = \|L - z
    - d_1 r\|`. Weights may be negative: a loss grows to come nearer to the ray. On the ray itself
    :math:`d_2` has a kink and only :math:`d_1` counts.

    Args:
        preference: The ray's direction in the space of losses; equal unless given.
        theta: Penalty; 5 as in the paper.
        ideal: Where the ray starts; zero unless given.

    LibMTL: none; TorchJD: ``PBI``.
    """

    traits = frozenset({"permutation", "scale_invariant", "linear_under_scaling"})
    paper = "Zhang & Li, MOEA/D, IEEE Transactions on Evolutionary Computation 2007"
    preference_is = "ray"
    preference: Tensor
    ideal: Tensor

    def __init__(
        self, *, preference: Preference = None, theta: float = 5.0, ideal: Preference = None
    ) -> None:
        super().__init__()
        self.given = given_per_task(preference, argument="preference")
        self.given_ideal = given_per_task(ideal, argument="ideal")
        self.theta = checks.number("theta", theta, least=0.0)

    def _allocate(self, num_tasks: int) -> None:
        ideal = per_task(self.given_ideal, self.names, argument="ideal", default=0.0)
        preference = preference_of(self.given, self.names)
        self.register_buffer("preference", preference, persistent=False)
        self.register_buffer("ideal", ideal, persistent=False)

    def weights(self, losses: Tensor, *, tasks: Tensor | None = None) -> Tensor:
        """Derivatives of the objective, ``(m,)``."""
        self._check_bound()
        shifted = losses.detach().double() - rows(self.ideal, tasks)
        ray = rows(self.preference, tasks)
        ray = ray / ray.norm().clamp_min(1e-300)
        beside = shifted - (shifted @ ray) * ray
        distance = beside.norm()
        if distance <= 1e-12 * shifted.norm():
            return ray
        return ray + self.theta * beside / distance
