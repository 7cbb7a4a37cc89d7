"""One small batch through network and losses, before any step is spent."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import torch
from torch import Tensor

from moml._support.nesting import tensors_in
from moml._support.replay import draws_of, restore_draws
from moml.architecture import Architecture
from moml.data import Batch, Suite, TaskSpec
from moml.training.validation import evaluating

SAMPLES = 4
Result = TypeVar("Result")


def check_parts(suite: Suite, architecture: Architecture, device: torch.device) -> None:
    """Evaluate a few training samples, and see that every part takes what the one before gives.

    Nothing is left behind: neither random numbers nor buffers nor modes change.

    Args:
        suite: Data and losses.
        architecture: The network.
        device: Where it lives.

    Raises:
        ValueError: If a part fails; names the part, and what it was given.
    """
    batch = suite.loader("train", batch_size=SAMPLES).batch(0).to(device)
    before = draws_of(architecture)
    try:
        with evaluating(architecture):
            _check(batch, suite.tasks, architecture)
    finally:
        restore_draws(architecture, before)


def _check(batch: Batch, tasks: Mapping[str, TaskSpec], architecture: Architecture) -> None:
    present = [task for task in tasks if batch.has_labels(task)]
    features = _tried(
        "The encoder",
        f"inputs {_shapes(batch.inputs)}",
        architecture.features,
        batch.inputs,
        present,
    )
    for task, spec in tasks.items():
        if task not in present:
            continue
        found = _tried(
            f"The head of task '{task}'", f"features {_shapes(features)}",
            architecture.decode, features, [task],
        )  # fmt: skip
        prediction, target = batch.labelled(task, found[task])
        given = f"predictions {_shapes(prediction)} and targets {_shapes(target)}"
        loss = _tried(f"The loss of task '{task}'", given, spec.loss, prediction, target)
        if not isinstance(loss, Tensor) or loss.numel() != 1:
            raise ValueError(
                f"The loss of task '{task}' should be one number, found "
                f"{_shapes(loss) or type(loss).__name__}."
            )


def _tried(part: str, given: str, call: Callable[..., Result], *arguments: Any) -> Result:
    """What the call returns; an error that is none of ours becomes one sentence."""
    try:
        return call(*arguments)
    except Exception as error:
        said = " ".join(str(error).split()).rstrip(".")
        if isinstance(error, ValueError) and said.startswith(("`", "Task", "Targets")):
            raise
        raise ValueError(
            f"{part} should take {given}, found {type(error).__name__}: {said[:300]}."
        ) from error


def _shapes(value: Any) -> str:
    """Shape and type of every tensor."""
    return ", ".join(
        f"{tuple(x.shape)} {str(x.dtype).removeprefix('torch.')}" for x in tensors_in(value)
    )
