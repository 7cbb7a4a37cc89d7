"""Auto-PGD: projected gradient ascent that chooses its own step sizes."""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from torch import Tensor

from moml.attack._answer import Answer
from moml.attack._ascent import Ascent
from moml.attack._assess import assess
from moml.attack._base import Attack, Bounds
from moml.attack._objective import Objective
from moml.attack.ball import Ball

FIRST, SHRINK, LEAST = 22, 3, 6  # checkpoint intervals, in percent of all steps
INCREASES, MOMENTUM = 0.75, 0.75


class APGD(Attack):
    """PGD with momentum that halves step sizes, and returns to the best point, where it is stuck.

    Croce, Hein, `Reliable evaluation of adversarial robustness with an ensemble of diverse
    parameter-free attacks <https://arxiv.org/abs/2003.01690>`_, ICML 2020. With `cross_entropy` it
    is APGD-CE; with `targeted_dlr` towards one class after the other APGD-T (see `worst_case`).

    Gives the point of highest loss, or the first that reached the goal if there is one. Steps start
    at ``2 eps``: where the first steps leap over a narrow region it comes back only by its
    checkpoints, so give it 20 steps or more. In the L1 ball it is weaker than the authors' later
    version with shrinking radii: on a robust digit network 38 % of the samples withstood it, and
    32 % that one.

    Args:
        ball: Where perturbations may lie.
        steps: Gradients taken per restart.
        restarts: Runs from different random starts.
        early_stop: Leave samples alone once they reach the goal, if there is one.
        bounds: Smallest and largest value of the data; ``None`` for unbounded data.
        ascent: Which gradient to follow for losses of several tasks. Best points are judged by the
            sum of the losses all the same.
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
        early_stop: bool = True,
        bounds: Bounds | None = (0.0, 1.0),
        ascent: Ascent | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__(ball, bounds=bounds, ascent=ascent, seed=seed)
        if steps < 1 or restarts < 1:
            raise ValueError(
                f"`steps` and `restarts` should be at least 1, found {steps} and {restarts}."
            )
        self.steps, self.restarts, self.early_stop = steps, restarts, early_stop

    def _perturb(self, goal: Objective, x: Tensor) -> Tensor:
        answer = Answer(x)
        for _ in range(self.restarts):
            start = self._start(x)  # for all samples: draws do not depend on who is done
            kept = answer.open() if self.early_stop else torch.arange(len(x), device=x.device)
            if len(kept) == 0:
                break
            run = _Run.started(kept, x[kept], start[kept], 2 * self.ball.eps)
            self._climb(goal.select(kept), run, answer)
        return answer.x

    def _climb(self, goal: Objective, run: _Run, answer: Answer) -> None:
        """One run; every point is offered to the answer."""
        intervals = _intervals(self.steps)
        for step in range(self.steps + 1):
            now, kept = assess(goal, run.x_adv), None
            answer.offer(run.rows, run.x_adv, now.total, now.done)
            if self.early_stop and now.reached is not None and now.done.any():
                kept = (~now.done).nonzero()[:, 0]
                run, goal = run.select(kept), goal.select(kept)
            if step == self.steps or len(run.rows) == 0:
                return
            loss = now.total if kept is None else now.total[kept]
            run.observe(loss, now.gradient(self.ascent, kept))
            if step in intervals:
                run.adapt(intervals[step])
            self._move(run, 1.0 if step == 0 else MOMENTUM)

    def _move(self, run: _Run, share: float) -> None:
        """A projected step, mixed with the one before.

        Not for sparse steps, as in Croce and Hein, "Mind the box", ICML 2021: there momentum goes
        on with entries that the last gradient did not choose.
        """
        share = 1.0 if self.ball.sparse else share
        step = run.size * self._direction(run.gradient, run.x_adv)
        point = self._inside(run.x_adv + step, run.x)
        point = run.x_adv + share * (point - run.x_adv) + (1 - share) * (run.x_adv - run.previous)
        run.x_adv, run.previous = self._inside(point, run.x), run.x_adv


@dataclass
class _Run:
    """What one run knows of every sample that takes part, ``(B, ...)``."""

    rows: Tensor  # (B,) their indices in the batch
    x: Tensor
    x_adv: Tensor
    previous: Tensor
    gradient: Tensor
    loss: Tensor  # (B,)
    best: Tensor
    best_gradient: Tensor
    best_loss: Tensor  # (B,)
    size: Tensor  # (B, 1, ...)
    rises: Tensor  # (B,) since the last checkpoint
    checked_loss: Tensor  # (B,) the best one at the last checkpoint
    halved: Tensor  # (B,) whether the last checkpoint halved the step size

    @classmethod
    def started(cls, rows: Tensor, x: Tensor, start: Tensor, size: float) -> _Run:
        """A run that has seen nothing yet."""
        one, infinite = torch.ones_like(rows), x.new_full((len(x),), float("inf"))
        return cls(
            rows, x, start, previous=start, gradient=start, loss=infinite, best=start,
            best_gradient=start, best_loss=-infinite, size=_over(infinite, x).clamp(max=size),
            rises=0 * one, checked_loss=infinite, halved=one.bool(),
        )  # fmt: skip

    def select(self, kept: Tensor) -> _Run:
        """The samples at ``kept`` only."""
        return _Run(*(getattr(self, field.name)[kept] for field in fields(self)))

    def observe(self, loss: Tensor, gradient: Tensor) -> None:
        """Take in loss and gradient of the current point."""
        better = loss > self.best_loss
        self.rises = self.rises + (loss > self.loss)
        self.loss, self.gradient = loss, gradient
        self.best_loss = torch.where(better, loss, self.best_loss)
        self.best = torch.where(_over(better, gradient), self.x_adv, self.best)
        self.best_gradient = torch.where(_over(better, gradient), gradient, self.best_gradient)

    def adapt(self, interval: int) -> None:
        """Halve steps where losses rose too rarely, or nothing was gained with these steps."""
        rare = self.rises < INCREASES * interval
        stuck = ~self.halved & (self.best_loss <= self.checked_loss)
        self.halved = rare | stuck
        back = _over(self.halved, self.x)
        self.size = torch.where(back, self.size / 2, self.size)
        self.x_adv = torch.where(back, self.best, self.x_adv)
        self.gradient = torch.where(back, self.best_gradient, self.gradient)
        self.rises, self.checked_loss = torch.zeros_like(self.rises), self.best_loss


def _intervals(steps: int) -> dict[int, int]:
    """Checkpoint to steps since the one before."""
    intervals: dict[int, int] = {}
    interval = checkpoint = FIRST
    last = 0
    while checkpoint <= 100:
        at = max(-(-checkpoint * steps // 100), last + 1)  # rounded up
        intervals[at], last = at - last, at
        interval = max(interval - SHRINK, LEAST)
        checkpoint += interval
    return intervals


def _over(values: Tensor, x: Tensor) -> Tensor:
    """One value a sample, ``(B,)``, shaped to broadcast over ``x``."""
    return values.reshape(-1, *[1] * (x.dim() - 1))
