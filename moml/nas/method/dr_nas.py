"""Search with mixtures drawn from learnt Dirichlet distributions."""

from __future__ import annotations

from moml.nas.method._first_order import FirstOrderMethod
from moml.nas.relaxation import Dirichlet


class DrNAS(FirstOrderMethod):
    """Weights of the mixture are drawn from a Dirichlet distribution whose parameters are learnt.

    Chen, Wang, Cheng, Tang & Hsieh, `DrNAS: Dirichlet Neural Architecture Search
    <https://arxiv.org/abs/2006.10355>`_, ICLR 2021. First order; without the paper's progressive
    shrinking and without its penalty on concentrations.

    Args:
        robust: Train on perturbed samples and add the adversarial validation loss as an objective.
    """

    paper = "Chen et al., DrNAS: Dirichlet Neural Architecture Search, ICLR 2021"

    relaxation = Dirichlet()  # draws explore; the mean is decoded
