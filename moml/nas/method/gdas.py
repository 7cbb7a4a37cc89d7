"""Search along one drawn path at a time."""

from __future__ import annotations

from moml.nas.executor import MixedCell
from moml.nas.method._first_order import FirstOrderMethod
from moml.nas.relaxation import Gumbel


class GDAS(FirstOrderMethod):
    """One operation per edge and step, drawn by the Gumbel trick: many times faster than DARTS.

    Dong & Yang, `Searching for A Robust Neural Architecture in Four GPU Hours
    <https://arxiv.org/abs/1910.04465>`_, CVPR 2019. First order.

    Args:
        robust: Train on perturbed samples and add the adversarial validation loss as an objective.
    """

    paper = "Dong & Yang, Searching for A Robust Neural Architecture in Four GPU Hours, CVPR 2019"

    executor = MixedCell  # does not run what was not drawn
    relaxation = Gumbel()
