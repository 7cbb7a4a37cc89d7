"""A universal perturbation: one for all samples."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from moml._support import checks
from moml.attack._ascent import Ascent
from moml.attack._assess import assess
from moml.attack._base import Attack, Bounds
from moml.attack._objective import Loss, Objective, as_objective
from moml.attack._region import Region, check_bounds, check_tensor, like
from moml.attack._rounded import HALF, towards
from moml.attack.ball import Ball


class UAP(Attack):
    """One perturbation for all inputs, by projected stochastic ascent on the mean loss.

    Moosavi-Dezfooli, Fawzi, Fawzi, Frossard, `Universal adversarial perturbations
    <https://arxiv.org/abs/1610.08401>`_, CVPR 2017; trained like weights as in Shafahi, Najibi, Xu,
    Dickerson, Davis, Goldstein, `Universal adversarial training
    <https://arxiv.org/abs/1811.11304>`_, AAAI 2020. A loss without an upper limit can be ruled by
    the samples that are fooled already: clamp it. `dlr` is flat for many of those, and weaker.

    `fit` learns the perturbation from a loader, `apply` adds it; `perturb` does both on one batch.
    Goals are not looked at. Every gradient passes through the bounds, since an entry that meets one
    in some samples moves on in others; in sparse balls, where a step and the budget go to few
    entries, only the samples in which an entry still moves have a say, and no entry is larger than
    it can be in any sample.

    Args:
        ball: Where the perturbation may lie.
        epochs: Passes over the batches.
        step_size: Length of a step in the ball's norm; ``eps / 5`` unless given. It falls linearly
            over the epochs.
        optimizer: Makes an optimizer of ``[delta]`` that is used instead of steepest steps, such as
            ``lambda deltas: torch.optim.Adam(deltas, lr=0.01)``.
        bounds: Smallest and largest value of the data; ``None`` for unbounded data.
        ascent: Which gradient to follow for losses of several tasks.
        seed: Seed of the start, a random point of the ball.

    Raises:
        ValueError: If a number is out of range.
    """

    def __init__(
        self,
        ball: Ball,
        *,
        epochs: int = 20,
        step_size: float | None = None,
        optimizer: Callable[[list[Tensor]], Optimizer] | None = None,
        bounds: Bounds | None = (0.0, 1.0),
        ascent: Ascent | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__(ball, bounds=bounds, ascent=ascent, seed=seed)
        checks.whole("epochs", epochs, least=1)
        self.step_size = ball.eps / 5 if step_size is None else step_size
        checks.number("step_size", self.step_size)
        if self.step_size <= 0 < ball.eps:
            raise ValueError(f"`step_size` should be positive, found {step_size}.")
        self.epochs, self.optimizer = epochs, optimizer

    def fit(self, batches: Iterable[tuple[Loss, Tensor]]) -> Tensor:
        """The perturbation, ``(1, ...)``.

        Args:
            batches: Losses (as for `perturb`) and clean inputs of every batch. Iterated once an
                epoch, so no generator.

        Raises:
            ValueError: If there is no batch, or as `perturb` does.
        """
        with torch.inference_mode(False), torch.enable_grad():
            shared: _Shared | None = None
            for epoch in range(self.epochs):
                for loss, x in batches:
                    check_tensor(x)
                    x = x.detach().clone()
                    goal = as_objective(loss, None, x)
                    self._check(goal, x)
                    shared = shared or self._started(x)
                    with goal.held():
                        self._step(goal, x, shared, 1 - epoch / self.epochs)
        if shared is None:
            raise ValueError("`batches` should hold a batch, found none.")
        return shared.delta

    def apply(self, delta: Tensor, x: Tensor) -> Tensor:
        """Perturbed inputs within the bounds.

        Raises:
            ValueError: If inputs leave the bounds.
        """
        check_bounds(x, self.bounds)
        return self._applied(delta, x)

    def perturb_within(self, goal: Objective, region: Region) -> Tensor:
        """Perturbed inputs, see `Attack.perturb_within`."""
        return self._applied(self.fit([(goal, region.x)]), region.x)

    def _check(self, goal: Objective, x: Tensor) -> None:
        super()._check(goal, x)
        self.ball.check(x, samples=False)

    def _started(self, x: Tensor) -> _Shared:
        delta = self.ball.sample(x[:1].float() if x.dtype in HALF else x[:1], self.generator)
        return _Shared(delta, self.optimizer([delta]) if self.optimizer else None)

    def _applied(self, delta: Tensor, x: Tensor) -> Tensor:
        wide = x.to(delta.dtype)
        x_adv = Region.around(wide, self.ball, self.bounds).clamped(wide + delta)
        return towards(x_adv, x) if x.dtype in HALF else x_adv

    def _step(self, goal: Objective, x: Tensor, shared: _Shared, share: float) -> None:
        """Raise the mean loss over the batch a little."""
        delta, x_adv = shared.delta, self._applied(shared.delta, x)
        gradient = assess(goal, x_adv).gradient(self.ascent).to(delta)  # (B, ...)
        box = shared.room(Region.around(x.to(delta), self.ball, self.bounds))
        if box is not None and self.ball.sparse:
            gradient = gradient * _movable(gradient, x_adv, like(x_adv, self.bounds))
        mean = gradient.mean(0, keepdim=True)
        if shared.optimizer is None:
            step = self.ball.steepest(
                mean, movable=None if box is None else _movable(mean, delta, box)
            )
            delta.add_(share * self.step_size * step)
        else:
            delta.grad = -mean
            shared.optimizer.step()
        delta.copy_(self.ball.project(delta, box=box))


@dataclass
class _Shared:
    """The perturbation while it is learnt.

    Attributes:
        delta: ``(1, ...)``.
        optimizer: What moves it, if it is not steepest steps.
        box: Its useful values: outside, an entry of every sample so far is at a bound.
    """

    delta: Tensor
    optimizer: Optimizer | None
    box: tuple[Tensor, Tensor] | None = None

    def room(self, region: Region) -> tuple[Tensor, Tensor] | None:
        """The box, with this batch in it."""
        box = region.box()
        if box is not None:
            low, high = box[0].amin(0, keepdim=True), box[1].amax(0, keepdim=True)
            if self.box is not None:
                low, high = torch.minimum(low, self.box[0]), torch.maximum(high, self.box[1])
            self.box = low, high
        return self.box


def _movable(gradient: Tensor, point: Tensor, box: Any) -> Tensor:
    """Entries that may still move along the gradient before they meet an end of the box."""
    low, high = box
    return ((gradient > 0) & (point < high)) | ((gradient < 0) & (point > low))
