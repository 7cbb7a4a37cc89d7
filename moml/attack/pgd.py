"""Projected gradient descent: steepest steps, each followed by a projection."""

from __future__ import annotations

import torch
from torch import Tensor

from moml._support import checks
from moml.attack._answer import Answer
from moml.attack._ascent import Ascent
from moml.attack._assess import assess
from moml.attack._base import Bounds
from moml.attack._climbing import Climbing
from moml.attack._objective import Objective
from moml.attack._region import Region
from moml.attack.ball import Ball


class PGD(Climbing):
    r""":math:`x \leftarrow \Pi(x + \alpha\, \mathrm{steepest}(\nabla \ell(x)))`, several times.

    Madry, Makelov, Schmidt, Tsipras, Vladu, `Towards deep learning models resistant to adversarial
    attacks <https://arxiv.org/abs/1706.06083>`_, ICLR 2018. Fails silently where gradients are
    masked, as by large logits: use a scale-free loss (`dlr`, `standardized`) beside the usual one.

    Gives the last iterate, or the first that reached the goal if it stops early; of several
    restarts the one that reached the goal, else the one with the highest loss.

    Args:
        ball: Where perturbations may lie.
        steps: Gradients taken per restart.
        step_size: Length of a step in the ball's norm; ``2.5 eps / steps`` unless given.
        restarts: Runs from different starts.
        random_start: Start at a random point of the ball instead of the clean sample.
        early_stop: Leave samples alone once they reach the goal, if there is one, and go on with
            the others only. Worth several times the speed on weak models.
        bounds: Smallest and largest value of the data; ``None`` for unbounded data.
        ascent: Which gradient to follow for losses of several tasks.
        eot: Forward passes averaged at every look, for models that are random.
        seed: Seed of the random starts.

    Raises:
        ValueError: If a number is out of range, or restarts would all be the same.
    """

    def __init__(
        self,
        ball: Ball,
        *,
        steps: int = 10,
        step_size: float | None = None,
        restarts: int = 1,
        random_start: bool = True,
        early_stop: bool = True,
        bounds: Bounds | None = (0.0, 1.0),
        ascent: Ascent | None = None,
        eot: int = 1,
        seed: int = 0,
    ) -> None:
        super().__init__(
            ball, steps=steps, restarts=restarts, early_stop=early_stop,
            bounds=bounds, ascent=ascent, eot=eot, seed=seed,
        )  # fmt: skip
        if restarts > 1 and not random_start:
            raise ValueError(
                f"`restarts` should be 1 without a random start, found {restarts}: "
                "all runs would be the same."
            )
        self.step_size = 2.5 * ball.eps / steps if step_size is None else step_size
        checks.number("step_size", self.step_size)
        if self.step_size <= 0 < ball.eps:
            raise ValueError(f"`step_size` should be positive, found {step_size}.")
        self.random_start = random_start

    def perturb_within(self, goal: Objective, region: Region) -> Tensor:
        """Perturbed inputs, see `Attack.perturb_within`."""
        if self.restarts > 1:
            return super().perturb_within(goal, region)
        return self._last(goal, region, self._start(region) if self.random_start else region.x)

    def _climb(
        self, goal: Objective, rows: Tensor, region: Region, start: Tensor, answer: Answer
    ) -> None:
        x_adv = self._last(goal, region, start)
        with torch.no_grad():
            last = assess(goal, x_adv)
        answer.offer(rows, x_adv, last.total, last.done)

    def _last(self, goal: Objective, region: Region, start: Tensor) -> Tensor:
        """The last iterate of every sample, or the first that reached the goal."""
        result, rows = start.clone(), torch.arange(len(start), device=start.device)
        x_adv = start
        if not (self.early_stop or self.ascent.uses_goals):
            goal = goal.without_goal()
        for _ in range(self.steps):
            now = assess(goal, x_adv)
            kept = now.unfinished() if self.early_stop else None
            if kept is not None:
                result[rows] = x_adv  # of those that go on it is not the last one
                if len(kept) == 0:
                    return result
                rows, x_adv = rows[kept], x_adv[kept]
                region, goal = region.select(kept), goal.select(kept)
            gradient = now.gradient(self.ascent, kept)
            direction = region.direction(gradient, x_adv)
            x_adv = region.inside(torch.add(x_adv, direction, alpha=self.step_size))
        if len(rows) == len(result):
            return x_adv
        result[rows] = x_adv
        return result
