"""A universal perturbation: one for all samples."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor
from torch.optim import Optimizer

from moml.attack._ascent import Ascent
from moml.attack._assess import assess
from moml.attack._base import Attack, Bounds
from moml.attack._objective import Loss, Objective, as_objective
from moml.attack.ball import Ball


class UAP(Attack):
    """One perturbation for all inputs, by projected stochastic ascent on the mean loss.

    Moosavi-Dezfooli, Fawzi, Fawzi, Frossard, `Universal adversarial perturbations
    <https://arxiv.org/abs/1610.08401>`_, CVPR 2017; trained like weights as in Shafahi, Najibi, Xu,
    Dickerson, Davis, Goldstein, `Universal adversarial training
    <https://arxiv.org/abs/1811.11304>`_, AAAI 2020. A loss without an upper limit can be ruled by
    the samples that are fooled already: clamp it. `dlr` is flat for many of those, and weaker.

    `fit` learns the perturbation from a loader, `apply` adds it; `perturb` does both on one batch.
    Goals are not looked at.

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
        if epochs < 1:
            raise ValueError(f"`epochs` should be at least 1, found {epochs}.")
        self.step_size = ball.eps / 5 if step_size is None else step_size
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
            delta: Tensor | None = None
            optimizer: Optimizer | None = None
            for epoch in range(self.epochs):
                for loss, x in batches:
                    x = x.detach().clone()
                    goal = as_objective(loss, None, x)
                    self._check(goal, x)
                    if delta is None:
                        delta = self.ball.sample(x[:1], self.generator)
                        optimizer = self.optimizer([delta]) if self.optimizer else None
                    with goal.held():
                        gradient = self._mean_gradient(goal, x, delta)
                    self._step(delta, gradient, optimizer, 1 - epoch / self.epochs)
        if delta is None:
            raise ValueError("`batches` should hold a batch, found none.")
        return delta

    def apply(self, delta: Tensor, x: Tensor) -> Tensor:
        """Perturbed inputs within the bounds."""
        return x + delta if self.bounds is None else (x + delta).clamp(*self.bounds)

    def _perturb(self, goal: Objective, x: Tensor) -> Tensor:
        return self.apply(self.fit([(goal, x)]), x)

    def _mean_gradient(self, goal: Objective, x: Tensor, delta: Tensor) -> Tensor:
        """Gradient of the mean loss over the batch with respect to ``delta``, ``(1, ...)``.

        It passes through the bounds: an entry that meets one in some samples moves on in others.
        """
        return assess(goal, self.apply(delta, x)).gradient(self.ascent).mean(0, keepdim=True)

    def _step(
        self, delta: Tensor, gradient: Tensor, optimizer: Optimizer | None, share: float
    ) -> None:
        if optimizer is None:
            delta.add_(share * self.step_size * self.ball.steepest(gradient))
        else:
            delta.grad = -gradient
            optimizer.step()
        delta.copy_(self.ball.project(delta))
