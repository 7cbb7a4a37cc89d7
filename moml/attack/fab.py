"""The fast adaptive boundary attack: the nearest input at which the goal is reached."""

from __future__ import annotations

import copy

import torch
from torch import Tensor

from moml._support import checks
from moml.attack._answer import Answer
from moml.attack._ascent import Ascent
from moml.attack._assess import Assessment, assess
from moml.attack._base import Attack, Bounds
from moml.attack._objective import Loss, Objective, Success
from moml.attack._region import Region
from moml.attack.ball import Ball, over

MOST = 0.1  # share of the step from the clean sample
BEYOND = 1.05  # how far over the plane a step goes
BACK = 0.9  # where a run goes on between the clean sample and what reached the goal


class FAB(Attack):
    """Steps onto the linearized decision boundary, biased towards the clean sample.

    Croce, Hein, `Minimally distorted adversarial examples with a fast adaptive boundary attack
    <https://arxiv.org/abs/1907.02044>`_, ICML 2020. With `targeted_margin` towards one class after
    the other it is FAB-T (see `each_target`), a part of AutoAttack.

    The loss must be zero where the goal begins and positive beyond it: `margin`, `targeted_margin`,
    or ``loss - tolerance`` for regression. Without a goal a positive loss is one.

    Gives the nearest sample that reached the goal if it lies in the ball, else the clean one;
    `nearest` gives it however far it is.

    Args:
        ball: Which norm is to be small, and up to which radius an answer counts.
        steps: Gradients taken per restart.
        restarts: Runs; the first from the clean sample, others from random points nearby.
        bounds: Smallest and largest value of the data; ``None`` for unbounded data.
        ascent: Which gradient to follow for losses of several tasks, whose sum is meant.
        eot: Forward passes averaged at every look, for models that are random.
        seed: Seed of the random starts.

    Raises:
        ValueError: If a number is out of range.
    """

    def __init__(
        self,
        ball: Ball,
        *,
        steps: int = 100,
        restarts: int = 1,
        bounds: Bounds | None = (0.0, 1.0),
        ascent: Ascent | None = None,
        eot: int = 1,
        seed: int = 0,
    ) -> None:
        super().__init__(ball, bounds=bounds, ascent=ascent, eot=eot, seed=seed)
        checks.whole("steps", steps, least=1)
        checks.whole("restarts", restarts, least=1)
        self.steps, self.restarts = steps, restarts
        self._anywhere = False

    def nearest(self, loss: Loss, x: Tensor, *, success: Success | None = None) -> Tensor:
        """The nearest samples found at which the goal is reached, in the ball or not.

        Samples for which none was found stay as they are.

        Args:
            loss: As for `perturb`.
            x: Clean inputs ``(B, ...)``.
            success: As for `perturb`.

        Raises:
            ValueError: As `perturb` does.
        """
        other = copy.copy(self)
        other._anywhere = True
        return other.perturb(loss, x, success=success)

    def perturb_within(self, goal: Objective, region: Region) -> Tensor:
        """Perturbed inputs, see `Attack.perturb_within`."""
        nearest = Answer(region.x)  # whose loss is minus the distance
        first = assess(goal, region.x)
        nearest.offer(nearest.open(), region.x, 0 * first.total, _reached(first))
        rows, start = nearest.open(), region.x
        for _ in range(self.restarts):
            self._search(goal.select(rows), rows, region.select(rows), start[rows], nearest)
            start = (region.x + region.start(self.generator)) / 2
        kept = nearest.reached & (self._anywhere | (-nearest.loss <= self.ball.eps))
        return torch.where(over(kept, region.x), nearest.x, region.x)

    def _search(
        self, goal: Objective, rows: Tensor, region: Region, point: Tensor, nearest: Answer
    ) -> None:
        """One run; what reaches the goal is offered to the answer."""
        x, ball = region.x, region.ball
        for _ in range(self.steps if len(rows) else 0):
            now = assess(goal, point)
            value, gradient = now.total, now.gradient(self.ascent)
            here = ball.to_plane(gradient, -value, Region(point, ball, region.bounds).box())
            at_clean = value + (gradient * (x - point)).flatten(1).sum(1)
            there = ball.to_plane(gradient, -at_clean, region.box())
            sizes = ball.norm(here).clamp(min=1e-8), ball.norm(there).clamp(min=1e-8)
            bias = over((sizes[0] / (sizes[0] + sizes[1])).clamp(max=MOST), x)
            step = (1 - bias) * (point - x + BEYOND * here) + bias * BEYOND * there
            point = region.clamped(x + step)
            with torch.no_grad():
                done = _reached(assess(goal, point))
            nearest.offer(rows, point, -ball.norm(point - x), done)
            point = torch.where(over(done, x), x + BACK * (point - x), point)


def _reached(now: Assessment) -> Tensor:
    """Whether all goals are reached, ``(B,)``; without a goal, whether the loss is positive."""
    return now.total > 0 if now.reached is None else now.done
