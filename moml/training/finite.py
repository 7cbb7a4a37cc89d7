"""Looks at gradients before they move anything, and at tasks once one is not finite."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import Parameter

from moml._support.replay import buffers_kept, restore_draws
from moml.errors import NonFiniteError
from moml.gradients.task_gradients import Evaluation
from moml.training.callback import Training


def finite_gradients(
    training: Training, evaluation: Evaluation, batch: Any, draws: Mapping[str, Any] | None
) -> None:
    """Look at what is in ``.grad`` before it moves the parameters: one sum per tensor.

    Args:
        training: The running loop.
        evaluation: The step.
        batch: Its batch.
        draws: Where the step's random numbers began, if that is known.

    Raises:
        NonFiniteError: If something is NaN or infinite; names the tasks whose gradients are.
    """
    parameters = list(training.updater.parameters())
    if _finite(parameters):
        return
    bad = [name for name in evaluation.names if not _is_finite(training, name, batch, draws)]
    raise NonFiniteError("gradient", bad or evaluation.names)


def _finite(parameters: Iterable[Parameter]) -> bool:
    gradients = [_values(p.grad) for p in parameters if p.grad is not None]
    if not gradients:
        return True
    if gradients[0].device.type == "cpu":
        total = sum([g.sum().item() for g in gradients])
        plain = math.isfinite(abs(total))
    else:
        sums = torch.stack([g.sum().abs().float() for g in gradients])  # one transfer
        plain = math.isfinite(sums.sum().item())
    return plain or all(bool(g.isfinite().all()) for g in gradients)  # large numbers may overflow


def _values(gradient: Tensor) -> Tensor:
    return gradient._values() if gradient.is_sparse else gradient


def _is_finite(training: Training, task: str, batch: Any, draws: Mapping[str, Any] | None) -> bool:
    """Whether the task's own gradient is finite, evaluated again; where it cannot be, it counts as.

    Without ``draws`` dropout differs from that of the step.
    """
    problem = training.problem
    if draws is not None:
        restore_draws(problem.module, draws)
    training.updater.zero_grad()
    try:
        with buffers_kept(problem.module):
            evaluation = training.oracle(problem, batch)
        row = torch.tensor([evaluation.names.index(task)])
        evaluation.select(row).apply(torch.ones(1, dtype=torch.float64))
    except NonFiniteError as error:
        return task not in error.tasks
    except ValueError:
        return True
    return _finite(p for _, p in problem.trainable())
