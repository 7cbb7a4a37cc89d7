"""Distance of the expected number of parameters from a target."""

from __future__ import annotations

from torch import Tensor

from moml._support import checks
from moml.nas.objective._base import SearchObjective, View


class SizeTarget(SearchObjective):
    r""":math:`|n(\alpha) - L| / L`: the size objective of E2RNAS's later form.

    Yue, Lin, Zhang & Liang, IJCNN 2022. Its gradient never vanishes, so that it takes part in the
    trade-off all the time; where only a bound is meant, `SizeLimits` says so.

    Args:
        target: Parameters L.

    Raises:
        ValueError: If the target is not positive.
    """

    def __init__(self, target: float) -> None:
        checks.number("target", target, above=0)
        self.target = target

    def __call__(self, view: View) -> Tensor:
        """Relative to the target."""
        return (view.expected_parameters / self.target - 1.0).abs()
