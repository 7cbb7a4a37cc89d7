"""What attacks of many steps have in common: several starts, and when a sample is left alone."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator

import torch
from torch import Tensor

from moml._support import checks
from moml.attack._answer import Answer
from moml.attack._ascent import Ascent
from moml.attack._base import Attack, Bounds
from moml.attack._objective import Objective
from moml.attack._region import Region
from moml.attack.ball import Ball


class Climbing(Attack):
    """An attack that takes steps, from one start or from several.

    Args:
        ball: Where perturbations may lie.
        steps: Gradients taken per restart.
        restarts: Runs from different starts.
        early_stop: Leave samples alone once they reach the goal, if there is one.
        bounds: Smallest and largest value of the data; ``None`` for unbounded data.
        ascent: Which gradient to follow for losses of several tasks.
        eot: Forward passes averaged at every look, for models that are random.
        seed: Seed of the random starts.

    Raises:
        ValueError: If a number is out of range.
    """

    def __init__(
        self,
        ball: Ball,
        *,
        steps: int,
        restarts: int,
        early_stop: bool,
        bounds: Bounds | None,
        ascent: Ascent | None,
        eot: int,
        seed: int,
    ) -> None:
        super().__init__(ball, bounds=bounds, ascent=ascent, eot=eot, seed=seed)
        checks.whole("steps", steps, least=1)
        checks.whole("restarts", restarts, least=1)
        self.steps, self.restarts, self.early_stop = steps, restarts, early_stop

    def perturb_within(self, goal: Objective, region: Region) -> Tensor:
        answer = Answer(region.x)
        for kept, start in self._starts(region, answer):
            self._climb(goal.select(kept), kept, region.select(kept), start, answer)
        return answer.x

    @abstractmethod
    def _climb(
        self, goal: Objective, rows: Tensor, region: Region, start: Tensor, answer: Answer
    ) -> None:
        """One run.

        Args:
            goal: What to raise, for these samples.
            rows: Their indices in the batch.
            region: The clean samples ``(B, ...)`` and where they may go.
            start: Where to start from.
            answer: To be offered what is found.
        """

    def _starts(self, region: Region, answer: Answer) -> Iterator[tuple[Tensor, Tensor]]:
        """For each run who takes part, by index, and from where."""
        everyone = torch.arange(len(region.x), device=region.x.device)
        for _ in range(self.restarts):
            start = self._start(region)  # for all samples: draws do not depend on who is done
            kept = answer.open() if self.early_stop else everyone
            if len(kept) == 0:
                return
            yield kept, start[kept]

    def _start(self, region: Region) -> Tensor:
        """Where runs begin, a random point."""
        return region.start(self.generator)
