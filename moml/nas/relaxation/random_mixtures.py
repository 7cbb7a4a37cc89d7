"""Weights drawn from a fixed Dirichlet distribution."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from moml._support import checks
from moml.nas.cell import CellSpec
from moml.nas.relaxation._base import Moment, Relaxation


class RandomMixtures(Relaxation):
    """Mixtures that do not look at the parameters: for training one supernet for all of them.

    Gradients with respect to such weights, averaged over training, say what every operation is
    worth on every edge (`moml.nas.GateGradients`).

    Args:
        concentration: Of the symmetric Dirichlet distribution; below 1 few operations dominate.

    Raises:
        ValueError: If the concentration is not positive.
    """

    def __init__(self, concentration: float = 0.5) -> None:
        checks.number("concentration", concentration, above=0)
        self.concentration = concentration

    def weights(self, cell: CellSpec, parameters: Mapping[str, Tensor], moment: Moment) -> Tensor:
        """One draw per edge."""
        shape = torch.full_like(parameters["ops"].detach(), self.concentration)
        with torch.random.fork_rng(devices=[]):  # the distribution draws from the global state
            torch.manual_seed(moment.seed)
            return torch.distributions.Dirichlet(shape).sample()
