"""The lower variables move by an optimizer of their own, in turn with the upper level."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from moml.bilevel._problem import BilevelProblem, Params
from moml.bilevel.carry._base import Carry, single
from moml.bilevel.hypergradient import LowerSolution


class Alternate(Carry):
    """After each upper step, the lower variables take steps of any optimizer at the new upper ones.

    The scheme of DARTS and of MOML's released code: what the hypergradient looked at was a virtual
    step from the current variables; the real one is taken here, with momentum or Adam's moments
    kept from step to step.

    Args:
        optimizer: Makes an optimizer of the lower variables.
        steps: Lower steps per upper step, on the step's lower batches in turn.
        scheduler: Makes a schedule for it, advanced once per upper step.
        clip_norm: Largest norm of the lower gradient.
    """

    def __init__(
        self,
        optimizer: Callable[[Iterable[Tensor]], Optimizer],
        *,
        steps: int = 1,
        scheduler: Callable[[Optimizer], LRScheduler] | None = None,
        clip_norm: float | None = None,
    ) -> None:
        if steps < 1:
            raise ValueError(f"`steps` should be at least 1, found {steps}.")
        self.make_optimizer, self.make_scheduler = optimizer, scheduler
        self.steps, self.clip_norm = steps, clip_norm
        self.theta: Params | None = None
        self._optimizer: Optimizer | None = None
        self._scheduler: LRScheduler | None = None

    def previous(self) -> Params | None:
        """The current variables, detached."""
        return self.theta and {name: t.detach() for name, t in self.theta.items()}

    def advance(self, problem: BilevelProblem, solutions: Sequence[LowerSolution]) -> None:
        """Take the steps, and hand the variables to the problem."""
        solution = single(solutions)
        lower = solution.lower
        if self.theta is None:
            self._build(lower.named([t.detach().clone() for t in solution.start]))
        assert self.theta is not None
        assert self._optimizer is not None
        theta = list(self.theta.values())
        for step in range(self.steps):
            gradient = lower.gradient(theta, step, create_graph=False)
            for variable, g in zip(theta, gradient, strict=True):
                variable.grad = g
            if self.clip_norm is not None:
                torch.nn.utils.clip_grad_norm_(theta, self.clip_norm)
            self._optimizer.step()
        self._optimizer.zero_grad(set_to_none=True)
        if self._scheduler is not None:
            self._scheduler.step()
        problem.commit({name: t.detach() for name, t in self.theta.items()})

    def _build(self, theta: Params) -> None:
        self.theta = {name: t.requires_grad_() for name, t in theta.items()}
        self._optimizer = self.make_optimizer(list(self.theta.values()))
        if self.make_scheduler is not None:
            self._scheduler = self.make_scheduler(self._optimizer)

    def state_dict(self) -> dict[str, Any]:
        """Variables, optimizer and schedule."""
        if self.theta is None or self._optimizer is None:
            return {"theta": None}
        return {
            "theta": {name: t.detach() for name, t in self.theta.items()},
            "optimizer": self._optimizer.state_dict(),
            "scheduler": self._scheduler and self._scheduler.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore them."""
        self.theta, self._optimizer, self._scheduler = None, None, None
        if state["theta"] is None:
            return
        self._build({name: t.clone() for name, t in state["theta"].items()})
        assert self._optimizer is not None
        self._optimizer.load_state_dict(state["optimizer"])
        if self._scheduler is not None and state["scheduler"] is not None:
            self._scheduler.load_state_dict(state["scheduler"])
