"""An attack: inputs near the clean ones at which a loss is high."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from typing import Self, final

import torch
from torch import Tensor

from moml._support import checks
from moml.attack._ascent import Ascent, TotalLoss
from moml.attack._expected import Expected
from moml.attack._objective import Loss, Objective, Success, as_objective
from moml.attack._region import (
    Region,
    check_bounds,
    check_interval,
    check_tensor,
    inside,
    same_bounds,
    shown_bounds,
)
from moml.attack._rounded import HALF, Rounded, towards
from moml.attack.ball import Ball
from moml.data import Bounds

__all__ = ["Attack", "Bounds", "check_bounds", "inside"]


class Attack(ABC):
    """Perturbs inputs within a ball and the bounds of the data so that losses rise.

    Only gradients with respect to the inputs are taken: no parameter's ``.grad`` and no
    ``requires_grad`` is touched. A plain function as the loss runs its model in whatever mode it is
    in; a `Victim` holds it in evaluation mode and puts every submodule's mode back.

    Args:
        ball: Where perturbations may lie, in the units of the data.
        bounds: Smallest and largest value of the data: numbers, or tensors that broadcast with the
            inputs ``(B, ...)``, as ``(C, 1, 1)`` for bounds per channel; ``None`` for unbounded
            data.
        ascent: Which gradient to follow for losses of several tasks; that of their sum by default.
        eot: Forward passes whose losses and gradients are averaged at every look, for models that
            are random (expectation over transformation); a goal is then reached where most passes
            reach it.
        seed: Seed of the attack's own generator. A second call continues its stream; a fresh attack
            starts over.
    """

    def __init__(
        self,
        ball: Ball,
        *,
        bounds: Bounds | None = (0.0, 1.0),
        ascent: Ascent | None = None,
        eot: int = 1,
        seed: int = 0,
    ) -> None:
        check_interval(bounds)
        checks.whole("eot", eot, least=1)
        self.ball, self.bounds, self.eot, self.seed = ball, bounds, eot, seed
        self.ascent = TotalLoss() if ascent is None else ascent
        self.generator = torch.Generator().manual_seed(checks.seed(seed))

    def __repr__(self) -> str:
        shown = {k: v for k, v in vars(self).items() if k != "generator" and not k.startswith("_")}
        return f"{type(self).__name__}({', '.join(f'{k}={v!r}' for k, v in shown.items())})"

    @final
    def perturb(self, loss: Loss, x: Tensor, *, success: Success | None = None) -> Tensor:
        """Perturbed inputs, detached, shaped like ``x``.

        Args:
            loss: Losses of the inputs to raise, ``x -> (B,)`` or ``(B, T)`` (their sum is raised
                unless an ascent says otherwise), or an `Objective`, which may know its own goal.
            x: Clean inputs ``(B, ...)`` in the units of the data. Those of half precision are
                perturbed in single precision and rounded towards the clean ones, so they stay in
                the ball.
            success: Where the goal is reached, ``x -> (B,)`` or ``(B, T)`` bool; several tasks must
                all be reached. Costs a forward pass a step; an objective's own goal does not.

        Raises:
            ValueError: If ``x`` is no tensor of floating point, leaves the bounds, or the objective
                has others; if radii or bounds do not fit it; if losses are not one a sample, not
                finite, or do not depend on ``x``.
        """
        check_tensor(x)
        with torch.inference_mode(False), torch.enable_grad():
            x = x.detach().clone()
            goal = as_objective(loss, success, x)
            self._check(goal, x)
            if x.numel() == 0 or self.ball.eps == 0:
                return x
            goal = goal if self.eot == 1 else Expected(goal, self.eot)
            if x.dtype not in HALF:
                with goal.held():
                    return self.perturb_within(goal, Region.around(x, self.ball, self.bounds))
            region = Region.around(x.float(), self.ball, self.bounds)
            with goal.held():
                return towards(self.perturb_within(Rounded(goal, x), region), x).detach()

    def among(self, x: Tensor, kept: Tensor) -> Self:
        """The same attack for the samples of ``x`` at ``kept``: their radii and bounds."""
        region = Region.around(x, self.ball, self.bounds).select(kept)
        if region.ball is self.ball and self.bounds is None:
            return self
        other = copy.copy(self)
        other.ball, other.bounds = region.ball, region.bounds
        return other

    @abstractmethod
    def perturb_within(self, goal: Objective, region: Region) -> Tensor:
        """Perturbed inputs; samples are detached, valid, not empty, gradients are enabled."""

    def _check(self, goal: Objective, x: Tensor) -> None:
        if not x.is_floating_point():
            raise ValueError(
                f"`x` should be of floating point, found {x.dtype}. "
                "Scale images to [0, 1] first, and give the radius in the same units."
            )
        if goal.bounds is not None and not same_bounds(goal.bounds, self.bounds):
            raise ValueError(
                f"`bounds` should be the victim's {shown_bounds(goal.bounds)}, found "
                f"{shown_bounds(self.bounds)}. Both speak of the data before normalisation."
            )
        self.ball.check(x)
        check_bounds(x, self.bounds)
