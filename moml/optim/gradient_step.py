"""Any PyTorch optimizer on the gradients the weighting wrote."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import Parameter
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from moml._support import checks
from moml.gradients.task_gradients import Evaluation
from moml.optim._base import Updater
from moml.optim.ada_task import AdaTask


class GradientStep(Updater):
    """One optimizer step on ``.grad``, with an optional schedule and clipping.

    Args:
        optimizer: Any PyTorch optimizer.
        scheduler: Makes a scheduler for the optimizer; stepped once per step.
        clip_norm: Largest norm of all gradients together.

    Raises:
        ValueError: If the optimizer asks for a closure, or the scheduler for a metric or is of
            another optimizer.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        *,
        scheduler: Callable[[Optimizer], LRScheduler] | None = None,
        clip_norm: float | None = None,
    ) -> None:
        checks.instance("optimizer", optimizer, Optimizer, "an optimizer of `torch.optim`")
        if clip_norm is not None:
            checks.number("clip_norm", clip_norm, above=0.0, infinite=True)
        if scheduler is not None:
            checks.function("scheduler", scheduler, "lambda optimizer: StepLR(optimizer, 10)")
        if _needs_argument(type(optimizer).step, optimizer):
            raise ValueError(
                "`optimizer` should take a step without evaluating losses again, found "
                f"{type(optimizer).__name__}, which asks for a closure."
            )
        self.optimizer, self.clip_norm = optimizer, clip_norm
        self._make_scheduler = scheduler
        self._scheduler: LRScheduler | None = None

    def parameters(self) -> list[Parameter]:
        """The optimizer's parameters."""
        return [p for group in self.optimizer.param_groups for p in group["params"]]

    def adopt(self, parameters: Iterable[Parameter]) -> None:
        """Add parameters the optimizer does not have yet: same rate, no weight decay."""
        known = set(self.parameters())
        new = [p for p in parameters if p not in known]
        if new:
            first = self.optimizer.param_groups[0]
            if first.get("weight_decay", 0.0) == 0.0:
                first["params"].extend(new)  # a group of its own costs a hundredth of a small step
            else:
                settings = {"params": new, "lr": first["lr"], "weight_decay": 0.0}
                self.optimizer.add_param_group(settings)

    @property
    def scheduler(self) -> LRScheduler | None:
        """The scheduler, made when first needed: after all parameters are known."""
        if self._scheduler is None and self._make_scheduler is not None:
            self._scheduler = _checked_scheduler(
                self._make_scheduler(self.optimizer), self.optimizer
            )
        return self._scheduler

    def zero_grad(self) -> None:
        """Drop the gradients, so that a parameter no loss reaches does not move."""
        self.optimizer.zero_grad(set_to_none=True)

    def prepare(self, evaluation: Evaluation) -> None:
        """Form the tasks' gradients if the optimizer needs them."""
        if isinstance(self.optimizer, AdaTask):
            evaluation.task_gradients()

    def step(self, evaluation: Evaluation, weights: Tensor | None) -> None:
        """Clip, step, advance the schedule."""
        scheduler, factor = self.scheduler, 1.0
        if self.clip_norm is not None:
            total = torch.nn.utils.clip_grad_norm_(self.parameters(), self.clip_norm)
            factor = min(1.0, self.clip_norm / (float(total) + 1e-6))  # as PyTorch clips
        if isinstance(self.optimizer, AdaTask):
            self.optimizer.hand_over(evaluation, weights, factor=factor)
        self.optimizer.step()
        if scheduler is not None:
            scheduler.step()

    def learning_rate(self) -> float:
        """Learning rate of the first parameter group."""
        return float(self.optimizer.param_groups[0]["lr"])

    def described(self) -> str:
        """The optimizer."""
        return type(self.optimizer).__name__

    def settings(self) -> list[dict[str, Any]]:
        """Those of the optimizer's groups."""
        return [plain_settings(group) for group in self.optimizer.param_groups]

    def state_dict(self) -> dict[str, Any]:
        """State of optimizer and scheduler."""
        scheduler = self.scheduler
        return {
            "optimizer": self.optimizer.state_dict(),
            "scheduler": None if scheduler is None else scheduler.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore optimizer and scheduler.

        Raises:
            ValueError: If the optimizer had other parameters.
        """
        sizes, own = (
            [len(group["params"]) for group in groups]
            for groups in (state["optimizer"]["param_groups"], self.optimizer.param_groups)
        )
        if sizes != own:
            raise ValueError(
                f"its optimizer has groups of {sizes} parameters, and this one of {own}"
            )
        scheduler = self.scheduler  # made first: it writes initial rates into the optimizer
        self.optimizer.load_state_dict(state["optimizer"])
        if scheduler is not None and state["scheduler"] is not None:
            scheduler.load_state_dict(state["scheduler"])


def plain_settings(group: Mapping[str, Any]) -> dict[str, Any]:
    """Numbers and booleans of a parameter group; the rate without what a schedule made of it."""
    found = {k: v for k, v in group.items() if isinstance(v, (bool, int, float, tuple))}
    start = found.pop("initial_lr", found.get("lr"))
    return found if start is None else {**found, "lr": start}


def _checked_scheduler(scheduler: Any, optimizer: Optimizer) -> LRScheduler:
    """The scheduler itself.

    Raises:
        ValueError: If it is none, asks for a metric, or moves the rates of another optimizer.
    """
    if not callable(getattr(scheduler, "step", None)):
        raise ValueError(
            "`scheduler` should make a scheduler of `torch.optim.lr_scheduler` for the optimizer, "
            f"found a function that returns {checks.found(scheduler)}."
        )
    kind = type(scheduler).__name__
    if getattr(scheduler, "optimizer", optimizer) is not optimizer:
        raise ValueError(
            "`scheduler` should make a scheduler for the optimizer that it is given, found a "
            f"{kind} of another one, whose rates alone would change."
        )
    if _needs_argument(scheduler.step):
        raise ValueError(
            "`scheduler` should advance by the number of steps alone, found "
            f"{kind}, which asks for a metric."
        )
    return scheduler


def _needs_argument(step: Callable[..., Any], *given: Any) -> bool:
    """Whether a step needs more than what is given, as of LBFGS and ReduceLROnPlateau.

    An optimizer's step is looked at in its class: a scheduler wraps that of the instance.
    """
    try:
        inspect.signature(step).bind(*given)
    except TypeError:
        return True
    except ValueError:  # no signature to be had
        return False
    return False
