"""The validation loss under attack."""

from __future__ import annotations

from torch import Tensor

from moml.nas.objective._base import SearchObjective, View


class AdversarialLoss(SearchObjective):
    """Mean loss of held-out samples after one step of the fast gradient sign method.

    The direction comes out of the backward pass of the clean loss, so this costs one forward and
    one backward pass.
    """

    needs_input_gradient = True

    def __call__(self, view: View) -> Tensor:
        """At the inputs where the clean loss rises fastest."""
        return view.loss(view.search.shifted(view.inputs, view.input_gradient))
