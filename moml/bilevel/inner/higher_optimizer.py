"""Any stock optimizer, made differentiable by the library `higher`."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from moml.bilevel._lower import LowerLevel, Tensors
from moml.bilevel.inner._base import InnerSolver, InnerState, Projection

MakeOptimizer = Callable[[Iterable[Tensor]], Optimizer]


class HigherOptimizer(InnerSolver):
    """Steps of a stock `torch.optim` optimizer through `higher`.

    Grefenstette et al., `Generalized Inner Loop Meta-Learning <https://arxiv.org/abs/1910.01727>`_,
    2019. For optimizers that moml has no rule of its own for (Adadelta, Adamax, ASGD, Rprop, or a
    user's own registered with `higher`), with parameter groups as the optimizer was made. The
    learning rates are the optimizer's: a problem that learns them needs one of moml's own rules.
    Steps are those of PyTorch's optimizer: Adam's ``eps``, which `higher` 0.2.1 adds before the
    bias correction, is put where PyTorch has it.

    Args:
        optimizer: Makes the optimizer of a list of parameters, ``functools.partial(Adamax,
            lr=.1)``.
        steps: Number of steps.
        project: Maps lower variables back to where they may lie, after each step.

    Raises:
        ValueError: When used with an optimizer that `higher` does not know (AdamW, NAdam, …), or
            with a problem that learns its rates.
    """

    def __init__(
        self, optimizer: MakeOptimizer, *, steps: int = 1, project: Projection | None = None
    ) -> None:
        super().__init__(steps=steps, project=project)
        self.optimizer = optimizer

    def begin(self, lower: LowerLevel, theta: Tensors) -> InnerState:
        """The state before the first step: a differentiable copy of a fresh optimizer."""
        from higher.optim import get_diff_optim

        if lower.problem.ascends():
            raise ValueError(
                "`inner` should be one of moml's own rules (InnerSGD, InnerAdam, …) where lower "
                "variables climb (a game), found HigherOptimizer."
            )
        if lower.rates(0) is not None:
            raise ValueError(
                "`inner` should be one of moml's own rules (InnerSGD, InnerAdam, …) where the "
                "problem learns its rates, found HigherOptimizer."
            )
        leaves = [t.detach().clone().requires_grad_() for t in theta]
        stock = self.optimizer(leaves)
        try:
            rule = get_diff_optim(stock, leaves)
        except ValueError as error:
            raise ValueError(
                f"`optimizer` should be one that `higher` knows, found {type(stock).__name__}. "
                "moml's own rules are InnerSGD, InnerAdam, InnerAdamW, InnerRMSprop, InnerAdagrad."
            ) from error
        return InnerState(theta, (rule, rule.state), 0)

    def advance(self, lower: LowerLevel, state: InnerState, *, create_graph: bool) -> InnerState:
        """One step of the optimizer on the lower loss."""
        rule, slots = state.slots
        rule.state = [_copied(group) for group in slots]
        rule._track_higher_grads = create_graph
        _place_eps(rule, state.step + 1)
        loss = lower.loss(state.theta, state.step)
        with torch.enable_grad():
            moved = list(rule.step(loss, params=state.theta))
        if not create_graph:
            moved = [t.detach() for t in moved]
        with torch.set_grad_enabled(create_graph):
            return InnerState(self._projected(lower, moved), (rule, rule.state), state.step + 1)


def _place_eps(rule: Any, step: int) -> None:
    """Adam's ``eps`` where PyTorch has it: `higher` adds it before the bias correction."""
    from higher.optim import DifferentiableAdam

    if not isinstance(rule, DifferentiableAdam):
        return
    for group in rule.param_groups:
        eps = group.setdefault("torch_eps", group["eps"])
        group["eps"] = eps * (1 - group["betas"][1] ** step) ** 0.5


def _copied(group: Any) -> Any:
    """A group's state that can be written to while the old one stays."""
    fresh = type(group)(group.default_factory)
    fresh.update({index: dict(entries) for index, entries in group.items()})
    return fresh
