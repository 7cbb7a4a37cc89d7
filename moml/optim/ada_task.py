"""AdaTask: accumulators per task, so that no task's gradient sets the others' step size."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Literal, get_args

import torch
from torch import Tensor
from torch.nn import Parameter
from torch.optim import Optimizer

from moml._support import checks
from moml.gradients.task_gradients import Evaluation

Rule = Literal["adam", "rmsprop", "adagrad"]

_OWN = -1  # the "task" of parameters that no task gradients were handed over for


class AdaTask(Optimizer):
    r"""Adam, RMSProp or AdaGrad with moments kept per task on the shared parameters.

    Yang et al., `AdaTask: A Task-aware Adaptive Learning Rate Approach to Multi-task Learning
    <https://arxiv.org/abs/2211.15055>`_, AAAI 2023. The moments of summed gradients follow the
    largest task, whose step then has the learning rate's size while the others' steps vanish. Here
    every task's weighted gradient :math:`w_k g_k` has moments of its own and the step is the *sum*
    of the tasks' steps, up to K times the learning rate. With steady
    gradients the steps of two opposed tasks cancel anywhere between their minima, so where it ends
    depends on the start. Private parameters get the plain rule.

    `moml.optim.GradientStep` hands the task gradients over; it costs one backward pass per task,
    and 2 K numbers per shared parameter for Adam. Without task gradients it is the plain rule. An
    absent task neither moves nor ages its moments. Learning-rate schedulers work as usual.

    Args:
        params: Parameters or groups.
        lr: Learning rate.
        rule: ``adam``, ``rmsprop`` or ``adagrad``.
        betas: Decay of the first and second moment (``adam``); the second one is RMSProp's.
        eps: Added to the root of the second moment.
        weight_decay: Decoupled: parameters shrink by this times the rate, once per step.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        *,
        rule: Rule = "adam",
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        checks.number("lr", lr, least=0.0)
        self.rule = checks.choice("rule", rule, get_args(Rule))
        if len(checks.numbers("betas", betas, "two numbers")) != 2:
            raise ValueError(f"`betas` should be two numbers, found {betas}.")
        for beta in betas:
            checks.number("betas", beta, least=0.0, below=1.0)
        checks.number("eps", eps, least=0.0)
        checks.number("weight_decay", weight_decay, least=0.0)
        self._handed: dict[Parameter, list[tuple[int, Tensor]]] = {}
        super().__init__(
            params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay}
        )

    def hand_over(
        self, evaluation: Evaluation, weights: Tensor | None, *, factor: float = 1.0
    ) -> None:
        """Give the next step the tasks' gradients.

        Args:
            evaluation: The step, whose rows are formed already.
            weights: Applied weights, ``(m,)``.
            factor: Of all gradients, as clipping left them.

        Raises:
            ValueError: If there are no weights.
        """
        if weights is None:
            raise ValueError(
                "`weighting` should have one weight per task for AdaTask, found a direction. "
                "Use another weighting, or another optimizer."
            )
        parameters, rows = evaluation.task_gradients()
        scales = (factor * weights).tolist()
        self._handed = {parameter: [] for parameter in parameters}
        for task, scale, row in zip(evaluation.tasks.tolist(), scales, rows, strict=True):
            for parameter, gradient in zip(parameters, row, strict=True):
                if gradient is not None:
                    self._handed[parameter].append((task, gradient * scale))

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Move every parameter that has a gradient by the sum of the tasks' steps."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        handed, self._handed = self._handed, {}
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                if group["weight_decay"]:
                    parameter.mul_(1.0 - group["lr"] * group["weight_decay"])
                for task, gradient in handed.get(parameter) or [(_OWN, parameter.grad)]:
                    moments = self.state[parameter].setdefault(task, _fresh(gradient))
                    parameter.add_(self._direction(moments, gradient, group), alpha=-group["lr"])
        return loss

    def _direction(
        self, moments: dict[str, Any], gradient: Tensor, group: dict[str, Any]
    ) -> Tensor:
        """One task's preconditioned gradient; moves its moments."""
        a, b = group["betas"]
        moments["step"] += 1
        second = moments["second"]
        if self.rule == "adagrad":
            second.addcmul_(gradient, gradient)
            return gradient / second.sqrt().add_(group["eps"])
        second.mul_(b).addcmul_(gradient, gradient, value=1.0 - b)
        if self.rule == "rmsprop":
            return gradient / second.sqrt().add_(group["eps"])
        first = moments["first"].lerp_(gradient, 1.0 - a)
        root = (second / (1.0 - b ** moments["step"])).sqrt_().add_(group["eps"])
        return first / (1.0 - a ** moments["step"]) / root


def _fresh(gradient: Tensor) -> dict[str, Any]:
    return {"step": 0, "first": torch.zeros_like(gradient), "second": torch.zeros_like(gradient)}
