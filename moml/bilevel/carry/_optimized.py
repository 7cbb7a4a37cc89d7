"""Lower variables that an optimizer moves."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from moml.bilevel._lower import Tensors
from moml.bilevel._problem import Params
from moml.bilevel.carry._base import Carry
from moml.bilevel.hypergradient import LowerSolution

MakeOptimizer = Callable[[Iterable[Tensor]], Optimizer]
MakeScheduler = Callable[[Optimizer], LRScheduler]


@dataclass(frozen=True)
class DescentTerms:
    """How an optimizer would move one variable now, as a step of gradient descent.

    Attributes:
        rate: Its learning rate.
        decay: Its weight decay.
        drift: Its velocity times the momentum, if it has one.
    """

    rate: float
    decay: float
    drift: Tensor | None


class Optimized(Carry):
    """Keeps the lower variables, and an optimizer's momentum and moments, from step to step.

    Args:
        optimizer: Makes an optimizer of the lower variables.
        scheduler: Makes a schedule for it, advanced once per upper step.
        clip_norm: Largest norm of a gradient.
    """

    def __init__(
        self,
        optimizer: MakeOptimizer,
        *,
        scheduler: MakeScheduler | None = None,
        clip_norm: float | None = None,
    ) -> None:
        self.make_optimizer, self.make_scheduler = optimizer, scheduler
        self.clip_norm = clip_norm
        self.theta: Params | None = None
        self._optimizer: Optimizer | None = None
        self._scheduler: LRScheduler | None = None

    def previous(self) -> Params | None:
        """The current variables, detached."""
        return self.theta and {name: t.detach() for name, t in self.theta.items()}

    def terms(self, start: Params) -> list[DescentTerms]:
        """What the optimizer would do to every variable now.

        Args:
            start: Where the lower level starts, for the first step.
        """
        theta = self._kept(start)
        assert self._optimizer is not None
        groups = {id(p): group for group in self._optimizer.param_groups for p in group["params"]}
        found = []
        for variable in theta.values():
            group = groups[id(variable)]
            velocity = self._optimizer.state.get(variable, {}).get("momentum_buffer")
            drift = None if velocity is None else velocity * group.get("momentum", 0.0)
            found.append(DescentTerms(float(group["lr"]), group.get("weight_decay", 0.0), drift))
        return found

    def _variables(self, solution: LowerSolution) -> Tensors:
        """The variables; at the first step, where the lower level started."""
        return list(self._kept(solution.lower.named(solution.start)).values())

    def _kept(self, start: Params) -> Params:
        if self.theta is None:
            self._build({name: t.detach().clone() for name, t in start.items()})
        assert self.theta is not None
        if self.theta.keys() != start.keys():
            self._follow(start)
        return self.theta

    def _follow(self, start: Params) -> None:
        """Take in variables that are new, and let go of those that are not there any more."""
        assert self.theta is not None
        assert self._optimizer is not None
        if len(self._optimizer.param_groups) > 1:
            raise ValueError(
                "`optimizer` should have one group of parameters where lower variables are frozen "
                f"or unfrozen in between, found {len(self._optimizer.param_groups)}."
            )
        known = self.theta
        self.theta = {
            n: known[n] if n in known else t.detach().clone().requires_grad_()
            for n, t in start.items()
        }
        self._optimizer.param_groups[0]["params"] = list(self.theta.values())
        for name in known.keys() - start.keys():
            self._optimizer.state.pop(known[name], None)

    def _move(self, gradient: Sequence[Tensor]) -> None:
        """One step of the optimizer."""
        assert self.theta is not None
        assert self._optimizer is not None
        theta = list(self.theta.values())
        for variable, g in zip(theta, gradient, strict=True):
            variable.grad = g
        if self.clip_norm is not None:
            torch.nn.utils.clip_grad_norm_(theta, self.clip_norm)
        self._optimizer.step()
        self._optimizer.zero_grad(set_to_none=True)

    def _moved(self) -> Params:
        """The variables after the step; the schedule goes on."""
        assert self.theta is not None
        if self._scheduler is not None:
            self._scheduler.step()
        return {name: t.detach() for name, t in self.theta.items()}

    def _build(self, theta: Params) -> None:
        self.theta = {name: t.requires_grad_() for name, t in theta.items()}
        self._optimizer = self.make_optimizer(list(self.theta.values()))
        if isinstance(self._optimizer, torch.optim.LBFGS):
            raise ValueError(
                "`optimizer` should take steps by given gradients, found LBFGS, which evaluates "
                "the loss itself. Use SGD, Adam or another."
            )
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
