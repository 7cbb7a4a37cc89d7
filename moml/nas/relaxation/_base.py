"""From architecture parameters to weights of a mixture, and to probabilities of operations."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from moml.nas.cell import CellSpec

START = 1e-3  # standard deviation of parameters at the start, as in DARTS


@dataclass(frozen=True)
class Moment:
    """Which step of a search it is.

    Attributes:
        step: Number of steps done.
        steps: Number of steps there will be.
        seed: Of this step's random draws, a constant plus the step; the same seed gives the same
            weights, so that losses are functions of their arguments within a step.
    """

    step: int
    steps: int
    seed: int

    def apart(self, number: int) -> Moment:
        """The same step with other draws, for each kind of cell its own."""
        return replace(self, seed=self.seed + 1_000_003 * number)

    def generator(self) -> torch.Generator:
        """A fresh one."""
        return torch.Generator().manual_seed(self.seed)


class Relaxation(ABC):
    """Draws the weights of every operation on every edge of a cell."""

    def initial(self, cell: CellSpec, generator: torch.Generator) -> dict[str, Tensor]:
        """Parameters of a cell at the start, by name."""
        shape = (len(cell.edges), len(cell.ops))
        return {"ops": START * torch.randn(shape, generator=generator)}

    @abstractmethod
    def weights(self, cell: CellSpec, parameters: Mapping[str, Tensor], moment: Moment) -> Tensor:
        """Weights of the mixture, ``(edges, ops)``, differentiable in the parameters.

        Args:
            cell: The cell.
            parameters: As `initial` gives them.
            moment: Which step it is.
        """

    def probabilities(self, cell: CellSpec, parameters: Mapping[str, Tensor]) -> Tensor:
        """Probability of every operation on every edge, ``(edges, ops)``; no random draw."""
        return parameters["ops"].softmax(1)

    def strengths(self, cell: CellSpec, parameters: Mapping[str, Tensor]) -> Tensor:
        """By which edges are chosen and decoded, ``(edges, ops)``: the probabilities by default."""
        return self.probabilities(cell, parameters)
