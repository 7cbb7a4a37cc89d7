"""Expected floating point operations."""

from __future__ import annotations

from torch import Tensor

from moml.nas.objective._base import SearchObjective, View


class Flops(SearchObjective):
    """Expected floating point operations per sample, relative to those of a uniform mixture."""

    def __init__(self) -> None:
        self._scale: float | None = None

    def __call__(self, view: View) -> Tensor:
        """One at the start, or nearly so."""
        space = view.search.space
        if self._scale is None:
            uniform = {
                name: p.detach().new_full(p.shape, 1 / p.shape[1])
                for name, p in view.probabilities.items()
            }
            self._scale = float(space.expected_flops(uniform))
        return space.expected_flops(view.probabilities) / self._scale
