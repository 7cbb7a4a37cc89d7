"""Weights drawn from a learnt Dirichlet distribution."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional

from moml.nas.cell import CellSpec
from moml.nas.relaxation._base import Moment, Relaxation


class Dirichlet(Relaxation):
    """Points of the simplex, with pathwise gradients to the concentrations.

    Chen, Wang, Cheng, Tang & Hsieh, `DrNAS: Dirichlet Neural Architecture Search
    <https://arxiv.org/abs/2006.10355>`_, ICLR 2021. Concentrations are ``elu(parameters) + 1``. The
    pathwise gradient has no derivative of its own: hypergradients with second derivatives that go
    through it are not available.
    """

    def weights(self, cell: CellSpec, parameters: Mapping[str, Tensor], moment: Moment) -> Tensor:
        """One draw per edge."""
        with torch.random.fork_rng(devices=[]):  # the distribution draws from the global state
            torch.manual_seed(moment.seed)
            return torch.distributions.Dirichlet(self._concentration(parameters)).rsample()

    def probabilities(self, cell: CellSpec, parameters: Mapping[str, Tensor]) -> Tensor:
        """The distribution's mean."""
        concentration = self._concentration(parameters)
        return concentration / concentration.sum(1, keepdim=True)

    @staticmethod
    def _concentration(parameters: Mapping[str, Tensor]) -> Tensor:
        return functional.elu(parameters["ops"]) + 1
