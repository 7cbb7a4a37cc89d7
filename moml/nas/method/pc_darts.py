"""Search with a quarter of the channels and weights of edges."""

from __future__ import annotations

from moml.nas.executor import PartialCell
from moml.nas.method._first_order import FirstOrderMethod
from moml.nas.relaxation import EdgeNormalised, Softmax


class PCDARTS(FirstOrderMethod):
    """DARTS on part of the channels, with normalised weights of edges.

    Xu et al., `PC-DARTS: Partial Channel Connections for Memory-Efficient Architecture Search
    <https://arxiv.org/abs/1907.05737>`_, ICLR 2020. First order.

    Args:
        robust: Train on perturbed samples and add the adversarial validation loss as an objective.
    """

    paper = "Xu et al., PC-DARTS: Partial Channel Connections, ICLR 2020"

    executor = PartialCell
    relaxation = EdgeNormalised(Softmax())
