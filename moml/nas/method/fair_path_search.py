"""Search on a supernet whose paths are trained fairly."""

from __future__ import annotations

from moml.nas.executor import MixedCell
from moml.nas.method._first_order import FirstOrderMethod
from moml.nas.relaxation import FairPaths, Gumbel


class FairPathSearch(FirstOrderMethod):
    """Weights see every operation of every edge equally often; the mixture is drawn as in GDAS.

    Chu, Zhang & Xu, `FairNAS: Rethinking Evaluation Fairness of Weight Sharing Neural Architecture
    Search <https://arxiv.org/abs/1907.01845>`_, ICCV 2021, for the lower level: what the
    architecture parameters prefer does not decide which weights are trained.

    Args:
        robust: Train on perturbed samples and add the adversarial validation loss as an objective.
    """

    paper = "Chu et al., FairNAS: Rethinking Evaluation Fairness of Weight Sharing NAS, ICCV 2021"

    executor = MixedCell
    relaxation, lower_relaxation = Gumbel(), FairPaths()
