"""Drop path: results of edges left out at random, sample by sample, while a network is trained."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from moml.nas.discrete_cell import DiscreteCell


class DropPath(nn.Module):
    """Replaces what an edge brings by zero with some probability, for each sample on its own.

    What is kept is divided by the probability of keeping it. Larsson, Maire, Shakhnarovich,
    `FractalNet <https://arxiv.org/abs/1605.07648>`_, ICLR 2017, in the form of Liu, Simonyan &
    Yang, DARTS, ICLR 2019: identities are never dropped. Draws depend on the seed that a step
    begins with alone, so that a run that was stopped goes on with the same ones.
    """

    def __init__(self) -> None:
        super().__init__()
        self.probability = 0.0
        self.generator = torch.Generator()

    def begin(self, probability: float, seed: int) -> None:
        """A step begins.

        Args:
            probability: How likely an edge is left out.
            seed: Of this step's draws.
        """
        self.probability = probability
        self.generator.manual_seed(seed)

    def install(self, network: nn.Module) -> None:
        """Let every cell of a network leave out edges by this module.

        Raises:
            ValueError: If the network has no cells.
        """
        cells = [module for module in network.modules() if isinstance(module, DiscreteCell)]
        if not cells:
            raise ValueError(
                f"`drop_path` should be 0 for a network without cells, found {type(network)}."
            )
        for cell in cells:
            cell.drop_path = self

    def forward(self, x: Tensor) -> Tensor:
        """Some of the samples ``(B, ...)``, zero instead of the others; all in evaluation mode."""
        if not self.training or self.probability == 0.0:
            return x
        kept = torch.rand(len(x), generator=self.generator) >= self.probability
        scale = kept.to(x) / (1.0 - self.probability)
        return x * scale.view(-1, *(1,) * (x.dim() - 1))
