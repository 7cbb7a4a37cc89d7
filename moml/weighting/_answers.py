"""Checks of a method's weights or direction, before anything is written."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from moml.errors import NonFiniteError
from moml.gradients.task_gradients import Evaluation


def check_weights(weights: Any, names: Sequence[str], method: str) -> None:
    """Verify that a method gave one finite weight per task.

    Args:
        weights: Return value of the method's ``weights``.
        names: Names of the tasks, one per weight.
        method: Name of the method, for the error.

    Raises:
        ValueError: If it did not.
    """
    m = len(names)
    if not isinstance(weights, Tensor):
        raise ValueError(
            f"`weights` of {method} should be a tensor of shape ({m},), found "
            f"{type(weights).__name__}. Return `torch.tensor([...])`."
        )
    if weights.shape != (m,):
        raise ValueError(
            f"`weights` of {method} should have shape ({m},), one per task present, found "
            f"{tuple(weights.shape)}."
        )
    if not math.isfinite(weights.sum().item()) and not torch.isfinite(weights).all():
        pairs = zip(names, weights.tolist(), strict=True)
        found = ", ".join(f"{w} for task '{name}'" for name, w in pairs if not math.isfinite(w))
        raise ValueError(f"`weights` of {method} should be finite, found {found}.")


def finite_rows(evaluation: Evaluation) -> tuple[Tensor, Tensor]:
    """Return the gradients ``(m, n)`` and which of them are not zero, bools ``(m,)``.

    They are read once, before a method's state could be spoilt.

    Raises:
        NonFiniteError: If a task's gradient is not finite.
    """
    jacobian = evaluation.jacobian
    if jacobian.shape[1] == 0:
        return jacobian, torch.zeros(len(jacobian), dtype=torch.bool, device=jacobian.device)
    # the cheapest look at every entry; a sum may overflow, or cancel to zero
    sums = jacobian.sum(1).tolist()
    if not all(map(math.isfinite, sums)):
        bad = (~torch.isfinite(jacobian).all(1)).nonzero().flatten().tolist()
        if bad:
            raise NonFiniteError("gradient", [evaluation.names[i] for i in bad])
    if 0.0 in sums:
        return jacobian, jacobian.any(1)
    return jacobian, torch.ones(len(sums), dtype=torch.bool, device=jacobian.device)


def check_direction(direction: Any, n: int, method: str) -> None:
    """Verify that a method gave one finite number per entry of the shared parameters.

    Args:
        direction: Return value of the method's ``direction``.
        n: Number of entries.
        method: Name of the method, for the error.

    Raises:
        ValueError: If it did not.
    """
    if not isinstance(direction, Tensor):
        raise ValueError(
            f"`direction` of {method} should be a tensor of shape ({n},), found "
            f"{type(direction).__name__}."
        )
    if direction.shape != (n,):
        raise ValueError(
            f"`direction` of {method} should have shape ({n},), the combined gradient, found "
            f"{tuple(direction.shape)}."
        )
    if not math.isfinite(direction.sum().item()) and not torch.isfinite(direction).all():
        raise ValueError(f"`direction` of {method} should be finite, found NaN or infinity.")
