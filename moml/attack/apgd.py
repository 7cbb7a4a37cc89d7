"""Auto-PGD: projected gradient ascent that chooses its own step sizes."""

from __future__ import annotations

from torch import Tensor

from moml.attack._answer import Answer
from moml.attack._ascent import Ascent
from moml.attack._assess import assess
from moml.attack._base import Bounds
from moml.attack._climbing import Climbing
from moml.attack._halving_run import HalvingRun
from moml.attack._objective import Objective
from moml.attack._region import Region
from moml.attack._run import AscentRun
from moml.attack._sparse_run import SparseRun
from moml.attack.ball import Ball

WARM_UP = ((3.0, 0.3), (2.0, 0.3))  # radius over eps and share of all steps, before the rest


class APGD(Climbing):
    """PGD with momentum that halves step sizes, and returns to the best point, where it is stuck.

    Croce, Hein, `Reliable evaluation of adversarial robustness with an ensemble of diverse
    parameter-free attacks <https://arxiv.org/abs/2003.01690>`_, ICML 2020. With `cross_entropy` it
    is APGD-CE; with `targeted_dlr` towards one class after the other APGD-T (see `worst_case`).

    Gives the point of highest loss, or the first that reached the goal if there is one. Steps start
    at ``2 eps``: where the first steps leap over a narrow region it comes back only by its
    checkpoints, so give it 20 steps or more.

    In the L1 ball it is the version of Croce, Hein, `Mind the box
    <https://arxiv.org/abs/2103.01208>`_, ICML 2021: no momentum, steps that move as few entries as
    are in use, and a start that comes from balls three and two times as large.

    Args:
        ball: Where perturbations may lie.
        steps: Gradients taken per restart.
        restarts: Runs from different random starts.
        early_stop: Leave samples alone once they reach the goal, if there is one.
        bounds: Smallest and largest value of the data; ``None`` for unbounded data.
        ascent: Which gradient to follow for losses of several tasks. Best points are judged by the
            sum of the losses all the same.
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

    def _climb(
        self, goal: Objective, rows: Tensor, region: Region, start: Tensor, answer: Answer
    ) -> None:
        left = self.steps
        for factor, share in WARM_UP if self.ball.sparse else ():
            steps, found = int(share * self.steps), Answer(region.x)
            larger = region.resized(factor)
            self._run(goal.without_goal(), found.open(), larger, start, steps, found)
            start, left = found.x, left - steps
        self._run(goal, rows, region, start, left, answer)

    def _run(
        self, goal: Objective, rows: Tensor, region: Region, start: Tensor, steps: int,
        answer: Answer,
    ) -> None:  # fmt: skip
        """One run; every point is offered to the answer."""
        kind = SparseRun if region.ball.sparse else HalvingRun
        run: AscentRun = kind.started(rows, region.x, region.inside(start), region.ball)
        checkpoints = run.checkpoints(steps)
        for step in range(steps + 1):
            now = assess(goal, run.x_adv)
            answer.offer(run.rows, run.x_adv, now.total, now.done)
            kept = now.unfinished() if self.early_stop else None
            if kept is not None:
                run, goal, region = run.select(kept), goal.select(kept), region.select(kept)
            if step == steps or len(run.rows) == 0:
                return
            loss = now.total if kept is None else now.total[kept]
            run.observe(loss, now.gradient(self.ascent, kept))
            if step in checkpoints:
                run.adapt(checkpoints[step])
            run.move(region, first=step == 0)
