"""Which task moves which parameter: the share of every task in the optimizer's steps."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import Parameter
from torch.optim import SGD, Adagrad, Adam, AdamW, RMSprop

from moml._support import checks
from moml.optim import GradientStep
from moml.training.callback import Callback, Training


class Dominance(Callback):
    r"""Decomposes every step of the shared parameters into the tasks' parts, exactly.

    The AU dominance metric of Yang et al., `AdaTask <https://arxiv.org/abs/2211.15055>`_, AAAI
    2023, for any weighting: :math:`\mathrm{AU}_k \leftarrow \rho\,\mathrm{AU}_k + (1-\rho)
    \Delta_k^2`, a task's share of an entry is its AU over the sum of all tasks'. A step is linear
    in the gradients once the second moments are known: SGD :math:`\Delta_k = -\eta\, w_k g_k` (or
    its momentum), Adam :math:`-\eta\, \hat m_k / (\sqrt{\hat v} + \epsilon)` with the tasks' own
    first moments :math:`m_k` and the common :math:`v`. Weight decay belongs to no task.

    Costs one backward pass per task and two numbers per task and shared parameter.

    Args:
        decay: :math:`\rho`.

    Attributes:
        shares: Each task's mean share over all shared entries that moved, by name.
        parts: Each task's last step per parameter, by position of the task.
    """

    def __init__(self, *, decay: float = 0.9) -> None:
        checks.number("decay", decay, least=0.0, below=1.0)
        self.decay = decay
        self.shares: dict[str, float] = {}
        self.parts: dict[int, list[Tensor]] = {}
        self._first: dict[int, list[Tensor]] = {}  # linear memory of the gradients
        self._squares: dict[int, list[Tensor]] = {}  # AU
        self._rates: dict[Parameter, dict[str, Any]] = {}

    def before_update(self, training: Training) -> None:
        """Form the tasks' gradients; note the rates of this step."""
        assert training.evaluation is not None
        training.evaluation.task_gradients()
        optimizer = _optimizer(training)
        self._rates = {
            p: {**group, "fresh": not optimizer.state.get(p)}
            for group in optimizer.param_groups
            for p in group["params"]
        }

    def after_step(self, training: Training) -> None:
        """Decompose the step, and average."""
        evaluation, optimizer = training.evaluation, _optimizer(training)
        assert evaluation is not None
        if training.weights is None:
            raise ValueError(
                "`weighting` should have one weight per task for Dominance, found a direction."
            )
        parameters, rows = evaluation.task_gradients()
        present = {
            task: [torch.zeros_like(p) if g is None else g * weight
                   for p, g in zip(parameters, row, strict=True)]
            for task, weight, row in zip(
                evaluation.tasks.tolist(), training.weights.tolist(), rows, strict=True
            )
        }  # fmt: skip
        factor = _clipping(parameters, list(present.values()))
        everyone = sorted({*self._first, *present})
        decompose = _RULES[type(optimizer)]
        for task in everyone:
            zeros = [torch.zeros_like(p) for p in parameters]
            gradients = [g * factor for g in present.get(task, zeros)]
            first = self._first.setdefault(task, [torch.zeros_like(p) for p in parameters])
            squares = self._squares.setdefault(task, [torch.zeros_like(p) for p in parameters])
            self.parts[task] = [
                decompose(g, m, optimizer.state[p], self._rates[p])
                for g, m, p in zip(gradients, first, parameters, strict=True)
            ]
            for au, part in zip(squares, self.parts[task], strict=True):
                au.mul_(self.decay).addcmul_(part, part, value=1.0 - self.decay)
        self.shares = self._mean_shares(training.problem.tasks)

    def _mean_shares(self, names: tuple[str, ...]) -> dict[str, float]:
        flat = {task: torch.cat([s.flatten() for s in au]) for task, au in self._squares.items()}
        total = torch.stack(list(flat.values())).sum(0)
        moved = total > 0.0
        if not moved.any():
            return {}
        return {names[k]: float((au[moved] / total[moved]).mean()) for k, au in flat.items()}

    def state_dict(self) -> dict[str, Any]:
        """Memory per task."""
        return {"first": self._first, "squares": self._squares}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore it."""
        self._first, self._squares = dict(state["first"]), dict(state["squares"])


def _optimizer(training: Training) -> torch.optim.Optimizer:
    updater = training.updater
    if not isinstance(updater, GradientStep) or type(updater.optimizer) not in _RULES:
        found = updater.optimizer if isinstance(updater, GradientStep) else updater
        known = ", ".join(kind.__name__ for kind in _RULES)
        raise ValueError(
            f"`optimizer` should be one of {known} for Dominance, found {type(found).__name__}."
        )
    return updater.optimizer


def _clipping(parameters: Any, rows: list[list[Tensor]]) -> float:
    """What the gradients were multiplied with after they were applied."""
    before, after = 0.0, 0.0
    for parameter, column in zip(parameters, zip(*rows, strict=True), strict=True):
        if parameter.grad is not None:
            total = torch.stack(column).sum(0).double()
            before += float((total * total).sum())
            after += float((total * parameter.grad.double()).sum())
    return after / before if before > 0.0 else 1.0


def _sgd(g: Tensor, m: Tensor, state: Mapping[str, Any], group: Mapping[str, Any]) -> Tensor:
    momentum = group["momentum"]
    if not momentum:
        return -group["lr"] * g
    new = 1.0 if group["fresh"] else 1.0 - group["dampening"]  # PyTorch's first step is whole
    m.mul_(momentum).add_(g, alpha=new)
    return -group["lr"] * (g + momentum * m if group["nesterov"] else m)


def _adam(g: Tensor, m: Tensor, state: Mapping[str, Any], group: Mapping[str, Any]) -> Tensor:
    a, b = group["betas"]
    step = float(state["step"])
    m.lerp_(g, 1.0 - a)
    second = state["max_exp_avg_sq"] if group["amsgrad"] else state["exp_avg_sq"]
    root = (second / (1.0 - b**step)).sqrt() + group["eps"]
    return -group["lr"] * m / (1.0 - a**step) / root


def _rmsprop(g: Tensor, m: Tensor, state: Mapping[str, Any], group: Mapping[str, Any]) -> Tensor:
    second = state["square_avg"]
    if group["centered"]:
        second = second - state["grad_avg"].square()
    part = g / (second.sqrt() + group["eps"])
    if not group["momentum"]:
        return -group["lr"] * part
    m.mul_(group["momentum"]).add_(part)
    return -group["lr"] * m


def _adagrad(g: Tensor, m: Tensor, state: Mapping[str, Any], group: Mapping[str, Any]) -> Tensor:
    rate = group["lr"] / (1.0 + (float(state["step"]) - 1.0) * group["lr_decay"])
    return -rate * g / (state["sum"].sqrt() + group["eps"])


_Rule = Callable[[Tensor, Tensor, Mapping[str, Any], Mapping[str, Any]], Tensor]
_RULES: dict[type, _Rule] = {
    SGD: _sgd, Adam: _adam, AdamW: _adam, RMSprop: _rmsprop, Adagrad: _adagrad,
}  # fmt: skip
