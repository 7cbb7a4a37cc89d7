"""The architecture parameters of a search, apart from all weights."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from moml._support import checks
from moml.nas.relaxation import Moment, Relaxation
from moml.nas.search_space import SearchSpace

SEPARATOR = ":"  # between the name of a cell and that of its parameters


class ArchParameters(nn.Module):
    """What the upper level moves: a relaxation's parameters for each kind of cell.

    Args:
        space: The search space.
        relaxation: What they mean.
        seed: Seed of their values at the start, which are close to zero.
    """

    def __init__(self, space: SearchSpace, relaxation: Relaxation, *, seed: int = 0) -> None:
        super().__init__()
        self.space, self.relaxation = space, relaxation
        generator = torch.Generator().manual_seed(checks.seed(seed))
        self.values = nn.ParameterDict(
            {
                f"{name}{SEPARATOR}{key}": nn.Parameter(value)
                for name, cell in space.spec.cells
                for key, value in relaxation.initial(cell, generator).items()
            }
        )

    def named(self) -> dict[str, nn.Parameter]:
        """The parameters by the names that `weights` knows them under."""
        return dict(self.values.items())

    def weights(
        self,
        moment: Moment,
        *,
        omega: Mapping[str, Tensor] | None = None,
        relaxation: Relaxation | None = None,
    ) -> dict[str, Tensor]:
        """Weights of the mixture by kind of cell, ``(edges, ops)`` each.

        Args:
            moment: Which step it is.
            omega: Values in place of the parameters.
            relaxation: Another one than their own, for the lower level.
        """
        relaxed = relaxation or self.relaxation
        return {
            name: relaxed.weights(cell, self._of(name, omega), moment.apart(number))
            for number, (name, cell) in enumerate(self.space.spec.cells)
        }

    def probabilities(self, omega: Mapping[str, Tensor] | None = None) -> dict[str, Tensor]:
        """Probability of every operation on every edge, by kind of cell."""
        return {
            name: self.relaxation.probabilities(cell, self._of(name, omega))
            for name, cell in self.space.spec.cells
        }

    @torch.no_grad()
    def strengths(self) -> dict[str, Tensor]:
        """By which genotypes are decoded, by kind of cell."""
        return {
            name: self.relaxation.strengths(cell, self._of(name, None))
            for name, cell in self.space.spec.cells
        }

    def _of(self, name: str, omega: Mapping[str, Tensor] | None) -> dict[str, Tensor]:
        values = self.named() if omega is None else omega
        start = name + SEPARATOR
        return {k.removeprefix(start): v for k, v in values.items() if k.startswith(start)}
