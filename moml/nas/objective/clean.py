"""The validation loss."""

from __future__ import annotations

from torch import Tensor

from moml.nas.objective._base import SearchObjective, View


class CleanLoss(SearchObjective):
    """Mean loss of held-out samples."""

    def __call__(self, view: View) -> Tensor:
        """As the lower level left the weights."""
        return view.clean_loss
