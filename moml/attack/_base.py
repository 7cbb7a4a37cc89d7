"""An attack: inputs near the clean ones at which a loss is high."""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from typing import final

import torch
from torch import Tensor

from moml.attack._ascent import Ascent, TotalLoss
from moml.attack._objective import Loss, Objective, Success, as_objective
from moml.attack.ball import Ball

Bounds = tuple[float, float]
_LARGEST = sys.float_info.max


class Attack(ABC):
    """Perturbs inputs within a ball and the bounds of the data so that losses rise.

    Only gradients with respect to the inputs are taken: no parameter's ``.grad`` and no
    ``requires_grad`` is touched. A plain function as the loss runs its model in whatever mode it is
    in; a `Victim` holds it in evaluation mode and puts every submodule's mode back.

    Args:
        ball: Where perturbations may lie, in the units of the data.
        bounds: Smallest and largest value of the data; ``None`` for unbounded data.
        ascent: Which gradient to follow for losses of several tasks; that of their sum by default.
        seed: Seed of the attack's own generator. A second call continues its stream; a fresh attack
            starts over.
    """

    def __init__(
        self,
        ball: Ball,
        *,
        bounds: Bounds | None = (0.0, 1.0),
        ascent: Ascent | None = None,
        seed: int = 0,
    ) -> None:
        if bounds is not None and not bounds[0] < bounds[1]:
            raise ValueError(f"`bounds` should be (low, high) with low < high, found {bounds}.")
        self.ball, self.bounds, self.seed = ball, bounds, seed
        self.ascent = TotalLoss() if ascent is None else ascent
        self.generator = torch.Generator().manual_seed(seed)

    def __repr__(self) -> str:
        shown = {k: v for k, v in vars(self).items() if k != "generator" and not k.startswith("_")}
        return f"{type(self).__name__}({', '.join(f'{k}={v!r}' for k, v in shown.items())})"

    @final
    def perturb(self, loss: Loss, x: Tensor, *, success: Success | None = None) -> Tensor:
        """Perturbed inputs, detached, shaped like ``x``.

        Args:
            loss: Losses of the inputs to raise, ``x -> (B,)`` or ``(B, T)`` (their sum is raised
                unless an ascent says otherwise), or an `Objective`, which may know its own goal.
            x: Clean inputs ``(B, ...)`` in the units of the data.
            success: Where the goal is reached, ``x -> (B,)`` or ``(B, T)`` bool; several tasks must
                all be reached. Costs a forward pass a step; an objective's own goal does not.

        Raises:
            ValueError: If ``x`` is not of floating point, leaves the bounds, or the objective has
                others; if losses are not one a sample, not finite, or do not depend on ``x``.
        """
        with torch.inference_mode(False), torch.enable_grad():
            x = x.detach().clone()
            goal = as_objective(loss, success, x)
            self._check(goal, x)
            if x.numel() == 0 or self.ball.eps == 0:
                return x
            with goal.held():
                return self._perturb(goal, x)

    @abstractmethod
    def _perturb(self, goal: Objective, x: Tensor) -> Tensor:
        """Perturbed inputs; ``x`` is detached, valid and not empty, gradients are enabled."""

    def _inside(self, x_adv: Tensor, x: Tensor) -> Tensor:
        """Into the ball around ``x`` and the bounds."""
        return inside(x_adv, x, ball=self.ball, bounds=self.bounds)

    def _start(self, x: Tensor) -> Tensor:
        """A random point of the ball around ``x``, within the bounds."""
        start = x + self.ball.sample(x, self.generator)
        return start if self.bounds is None else start.clamp(*self.bounds)

    def _direction(self, gradient: Tensor, x_adv: Tensor) -> Tensor:
        """Steepest ascent from ``x_adv``, ``(B, ...)``."""
        if self.bounds is None or not self.ball.sparse:
            return self.ball.steepest(gradient)
        low, high = self.bounds
        movable = ((gradient > 0) & (x_adv < high)) | ((gradient < 0) & (x_adv > low))
        return self.ball.steepest(gradient, movable=movable)

    def _check(self, goal: Objective, x: Tensor) -> None:
        if not x.is_floating_point():
            raise ValueError(
                f"`x` should be of floating point, found {x.dtype}. "
                "Scale images to [0, 1] first, and give the radius in the same units."
            )
        if goal.bounds is not None and goal.bounds != self.bounds:
            raise ValueError(
                f"`bounds` should be the victim's {goal.bounds}, found {self.bounds}. "
                "Both speak of the data before normalisation."
            )
        check_bounds(x, self.bounds)


def inside(x_adv: Tensor, x: Tensor, *, ball: Ball, bounds: Bounds | None) -> Tensor:
    """Into the ball around ``x``, then into the bounds, which lie no further away."""
    if bounds is None:
        return x + ball.project(x_adv - x)
    low, high = bounds
    box = (low - x, high - x) if ball.sparse else None
    return (x + ball.project(x_adv - x, box=box)).clamp_(low, high)


def check_bounds(x: Tensor, bounds: Bounds | None) -> None:
    """Whether all values are finite and, up to rounding, within the bounds.

    Raises:
        ValueError: If not.
    """
    if x.numel() == 0:
        return
    smallest, largest = (float(v) for v in torch.aminmax(x))
    low, high = (-_LARGEST, _LARGEST) if bounds is None else bounds
    slack = 0.0 if bounds is None else 1e-6 * (high - low)
    if not (low - slack <= smallest and largest <= high + slack):  # also where they are NaN
        raise ValueError(
            f"`x` should be finite and lie within its bounds {bounds}, "
            f"found values from {smallest:g} to {largest:g}. Give the data before normalisation "
            "(a `Victim` normalises inside), or pass the right `bounds`."
        )
