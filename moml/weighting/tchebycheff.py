"""Weighted Tchebycheff scalarization: the worst weighted loss."""

from __future__ import annotations

from torch import Tensor

from moml.weighting._base import LossWeighting
from moml.weighting._preference import (
    Preference,
    given_per_task,
    per_task,
    preference_of,
    present_preference,
    rows,
)


class Tchebycheff(LossWeighting):
    r"""Follows the task whose preference-weighted distance to the ideal point is largest.

    Bowman, `On the relationship of the Tchebycheff norm and the efficient frontier
    <https://doi.org/10.1007/978-3-642-87563-2_5>`_, 1976: minimises :math:`\max_i \lambda_i (L_i -
    z_i)`, whose minimiser has :math:`\lambda_i (L_i - z_i)` equal for all i where that is possible.
    It reaches every Pareto point, on concave fronts too, but zigzags between tasks where the
    maximum changes hands; `STCH` is its smooth form.

    Args:
        preference: Larger means the task's loss should be smaller; equal unless given.
        ideal: Smallest conceivable losses z; zero unless given.

    LibMTL, TorchJD: none.
    """

    traits = frozenset({"permutation", "scale_invariant", "linear_under_scaling"})
    paper = "Bowman, On the relationship of the Tchebycheff norm and the efficient frontier, 1976"
    preference_is = "importance"
    preference: Tensor
    ideal: Tensor

    def __init__(self, *, preference: Preference = None, ideal: Preference = None) -> None:
        super().__init__()
        self.given = given_per_task(preference, argument="preference")
        self.given_ideal = given_per_task(ideal, argument="ideal")

    def _allocate(self, num_tasks: int) -> None:
        ideal = per_task(self.given_ideal, self.names, argument="ideal", default=0.0)
        preference = preference_of(self.given, self.names)
        self.register_buffer("preference", preference, persistent=False)
        self.register_buffer("ideal", ideal, persistent=False)

    def weights(self, losses: Tensor, *, tasks: Tensor | None = None) -> Tensor:
        """The preference of the worst task, shared where several are worst, ``(m,)``."""
        self._check_bound()
        preference = present_preference(self.preference, len(losses), tasks=tasks)
        height = preference * (losses.detach().double() - rows(self.ideal, tasks))
        worst = (height == height.max()).double()
        return preference * worst / worst.sum()
