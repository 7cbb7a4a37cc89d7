"""Projection of the average gradient onto the cone where no task loses."""

from __future__ import annotations

from torch import Tensor

from moml.weighting._base import GramianWeighting
from moml.weighting._cone import projected_average
from moml.weighting._gramian import solve_each
from moml.weighting._preference import Preference, given_per_task, preference_of, present_preference


class DualProj(GramianWeighting):
    r"""Weights of the direction nearest to the average gradient among those no task loses by.

    Lopez-Paz & Ranzato, `Gradient Episodic Memory for Continual Learning
    <https://arxiv.org/abs/1706.08840>`_, NeurIPS 2017, equation 11. `UPGrad` projects every
    gradient and averages, this method averages and projects; both vanish at Pareto-stationary
    points only, and without conflict both are the average.

    Args:
        preference: Weights of the average; equal unless given. They are rescaled to sum to 1.

    LibMTL: none; TorchJD: ``DualProj`` (regularised: may conflict where norms differ much).
    """

    traits = frozenset({"permutation", "scale_invariant", "non_conflicting"})
    paper = "Lopez-Paz & Ranzato, Gradient Episodic Memory, NeurIPS 2017"
    preference: Tensor

    def __init__(self, *, preference: Preference = None) -> None:
        super().__init__()
        self.given = given_per_task(preference, argument="preference")

    def _allocate(self, num_tasks: int) -> None:
        preference = preference_of(self.given, self.names)
        self.register_buffer("preference", preference, persistent=False)

    def weights(
        self, gramian: Tensor, losses: Tensor | None = None, *, tasks: Tensor | None = None
    ) -> Tensor:
        """Weights of the projection, ``(*b, m)``."""
        if self.given is not None:
            self._check_bound()
        preference = None if self.given is None else self.preference
        average = present_preference(preference, gramian.shape[-1], tasks=tasks)
        return solve_each(projected_average, gramian, average=average.numpy())
