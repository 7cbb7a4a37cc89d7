"""One operation per edge, drawn by the Gumbel trick."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from moml.nas.cell import CellSpec
from moml.nas.relaxation._base import Moment, Relaxation

TRIES = 100  # draws until one connects input and output


class Gumbel(Relaxation):
    """One-hot weights, with the gradient of the softmax they were drawn from.

    Dong & Yang, `Searching for A Robust Neural Architecture in Four GPU Hours
    <https://arxiv.org/abs/1910.04465>`_, CVPR 2019 (GDAS). With `moml.nas.MixedCell` only what was
    drawn is run, and only its weights get a gradient. Draws that do not connect input and output
    are no architecture and are drawn again. The temperature falls linearly.

    Args:
        start: Temperature at the first step.
        end: Temperature at the last.

    Raises:
        ValueError: If a temperature is not positive.
    """

    def __init__(self, *, start: float = 10.0, end: float = 0.1) -> None:
        if start <= 0 or end <= 0:
            raise ValueError(f"Temperatures should be positive, found {start} and {end}.")
        self.start, self.end = start, end

    def weights(self, cell: CellSpec, parameters: Mapping[str, Tensor], moment: Moment) -> Tensor:
        """One per edge is exactly one, the others are exactly zero."""
        logits, generator = parameters["ops"], moment.generator()
        share = moment.step / max(moment.steps - 1, 1)
        temperature = self.start + (self.end - self.start) * min(share, 1.0)
        for _ in range(TRIES):
            uniform = torch.rand(logits.shape, generator=generator, dtype=torch.float64)
            noise = -torch.log(-torch.log(uniform.clamp(1e-12, 1 - 1e-12)))
            soft = ((logits.log_softmax(1) + noise.to(logits)) / temperature).softmax(1)
            drawn = soft.argmax(1)
            if cell.connected(
                tuple((e, cell.ops[o]) for e, o in zip(cell.edges, drawn.tolist(), strict=True))
            ):
                break
        chosen = torch.zeros_like(soft).scatter(1, drawn[:, None], 1.0)
        return chosen * (1.0 + (soft - soft.detach()))
