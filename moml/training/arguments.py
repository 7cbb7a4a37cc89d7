"""Looks at the arguments of the loop before anything is computed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import nn

from moml._support import checks
from moml.oracle import Oracle
from moml.problem import Objectives
from moml.training.callback import Callback
from moml.training.checkpoint import Checkpoint
from moml.weighting import Weighting


def check_arguments(
    problem: Any, oracle: Any, weighting: Any, steps: Any, callbacks: Any, checkpoint: Any
) -> None:
    """Raise a `ValueError` for what is not the loop's.

    Raises:
        ValueError: If an argument is of another type, a class among them.
    """
    hint = ""
    if isinstance(problem, nn.Module):
        hint = "Say its losses: `moml.MultiTask(network, {task: loss})`."
    check = checks.instance
    check("problem", problem, Objectives, "a problem such as `moml.MultiTask`", hint)
    check("oracle", oracle, Oracle, "an oracle such as `moml.oracle.Direct()`")
    check("weighting", weighting, Weighting, "a weighting such as `moml.weighting.MGDA()`")
    checks.whole("steps", steps, least=1)
    what = "a list of callbacks"
    hint = "Put it into a list." if isinstance(callbacks, Callback) else ""
    hint = hint or "Derive from `moml.training.callback.Callback` for what looks on."
    for callback in check("callbacks", callbacks, Sequence, what, hint):
        check("callbacks", callback, Callback, what, hint)
    if checkpoint is not None:
        what = "a checkpoint such as `moml.training.checkpoint.Checkpoint('folder')`"
        check("checkpoint", checkpoint, Checkpoint, what)
