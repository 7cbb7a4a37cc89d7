"""One forward pass of an attack, checked; shared by the iterative attacks."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from moml.attack._ascent import Ascent
from moml.attack._objective import Objective, check_rows


class Assessment(NamedTuple):
    """Losses at a leaf, ready to be differentiated."""

    leaf: Tensor
    losses: Tensor  # (B, T), part of the leaf's graph
    reached: Tensor | None  # (B, T)

    @property
    def done(self) -> Tensor:
        """Samples whose every task has reached its goal, ``(B,)``."""
        if self.reached is None:
            return torch.zeros(len(self.losses), dtype=torch.bool, device=self.losses.device)
        return self.reached.all(1)

    def unfinished(self) -> Tensor | None:
        """Indices of the other samples; ``None`` if that is all of them."""
        if self.reached is None:
            return None
        left = (~self.reached.all(1)).nonzero()[:, 0]
        return None if len(left) == len(self.losses) else left

    @property
    def total(self) -> Tensor:
        """Sum of the losses of each sample, detached, ``(B,)``."""
        return self.losses.detach().sum(1)

    def gradient(self, ascent: Ascent, kept: Tensor | None = None) -> Tensor:
        """The gradient to follow, of the samples at ``kept`` (all unless given).

        Raises:
            ValueError: If it is not finite or there is none.
        """
        gradient = ascent.gradient(self.losses, self.reached, self.leaf).detach()
        gradient = gradient if kept is None else gradient[kept]
        _check_finite(gradient, "gradient of `loss`")
        return gradient


def assess(goal: Objective, x: Tensor) -> Assessment:
    """Losses and goals at ``x``.

    Raises:
        ValueError: If there is not one loss, and one goal, a sample, or a loss is not finite.
    """
    leaf = x.detach().requires_grad_()
    losses, reached = goal.measure(leaf)
    check_rows(losses, len(x), "loss")
    _check_finite(losses.detach(), "`loss`")
    if reached is not None:
        check_rows(reached, len(x), "success")
        if reached.dtype != torch.bool:
            raise ValueError(f"`success` should give bools, found {reached.dtype}.")
        reached = reached if reached.dim() == 2 else reached[:, None]
    return Assessment(leaf, losses if losses.dim() == 2 else losses[:, None], reached)


def _check_finite(values: Tensor, name: str) -> None:
    if math.isfinite(values.sum()):  # one pass; an overflow of the sum alone is looked into below
        return
    bad = ~values.isfinite()
    if bad.any():
        samples = bad.reshape(len(bad), -1).any(1).nonzero()[:, 0].tolist()
        raise ValueError(
            f"{name} should be finite, found NaN or infinity for {len(samples)} of {len(bad)} "
            f"samples, the first at {samples[0]}. Check the model's output on clean data first."
        )
