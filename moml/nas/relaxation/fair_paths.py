"""Every operation of every edge equally often."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from moml.nas.cell import CellSpec
from moml.nas.relaxation._base import Moment, Relaxation


class FairPaths(Relaxation):
    """One-hot weights that do not look at the parameters: a fresh permutation every few steps.

    Chu, Zhang & Xu, `FairNAS <https://arxiv.org/abs/1907.01845>`_, ICCV 2021: of as many steps in a
    row as there are operations, each edge runs each operation once. For training the weights of a
    supernet; operations that are zero take their turn too.
    """

    def weights(self, cell: CellSpec, parameters: Mapping[str, Tensor], moment: Moment) -> Tensor:
        """One per edge is one."""
        logits = parameters["ops"]
        round_number, turn = divmod(moment.step, len(cell.ops))
        generator = torch.Generator().manual_seed(moment.seed - moment.step + round_number)
        order = torch.rand(logits.shape, generator=generator).argsort(1)
        return torch.zeros_like(logits).scatter(1, order[:, turn : turn + 1].to(logits.device), 1.0)
