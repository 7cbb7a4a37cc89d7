"""Looks at a suite's data, losses and metrics before any step is spent on them."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

from moml._support import checks
from moml.architecture import Architecture
from moml.data import Batch, Source, Suite, TaskSpec, TensorSource
from moml.data.suite import Split
from moml.training.validation import evaluating, number

_SPLITS: dict[Split, str] = {"train": "training", "val": "validation", "test": "test"}


def check_labels(suite: Suite) -> None:
    """Look at data once that are held in memory: labels of every task, in every split.

    Raises:
        ValueError: If a split is no source, inputs are not finite, a task has no label at all (the
            test split may do without), or one that its loss cannot take.
    """
    for split, name in _SPLITS.items():
        sources = sources_of(suite, split)
        held = [source for source in sources if isinstance(source, TensorSource)]
        if len(held) < len(sources):
            continue
        for source in held:
            _check_inputs(source.inputs, name)
        batches = [Batch(s.inputs, s.targets, s.present or None) for s in held]
        for task, spec in suite.tasks.items():
            if not _check_targets(task, spec, batches, name) and split != "test":
                raise ValueError(
                    f"Task '{task}' should have at least one label in the {name} data, found none. "
                    "Leave it out with `tasks`."
                )


def check_metrics(
    architecture: Architecture,
    suite: Suite,
    *,
    batch_size: int = 8,
    device: torch.device | str = "cpu",
) -> None:
    """Try every metric on a few predictions for validation data.

    Raises:
        ValueError: If a metric cannot take them, or is not one number; names task and metric.
    """
    for task, spec in suite.tasks.items():
        known = spec.metrics()
        if spec.main not in known:
            raise ValueError(
                f"`main` of task '{task}' should be among its metrics {sorted(known)}, found "
                f"'{spec.main}'."
            )
        if known[spec.main].higher_is_better is None:
            raise ValueError(
                f"Metric '{spec.main}' of task '{task}' should say whether higher is better, found "
                "`higher_is_better = None`. Model selection looks at it."
            )
    batch = suite.loader("val", batch_size=batch_size).batch(0).to(device)
    present = [task for task in suite.tasks if batch.has_labels(task)]
    with evaluating(architecture):
        predictions = architecture(batch.inputs, present)
    for task in present:
        prediction, target = batch.labelled(task, predictions[task])
        for name, metric in suite.tasks[task].metrics().items():
            _try(task, name, metric.to(device), prediction, target)


def _try(task: str, name: str, metric: Any, prediction: Any, target: Tensor) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of so few samples
        try:
            metric.update(prediction, target)
        except (IndexError, RuntimeError, TypeError, ValueError) as error:
            raise ValueError(
                f"Metric '{name}' of task '{task}' should take predictions "
                f"{_shape(prediction)} and targets {_shape(target)}, found that it does not: "
                f"{checks.said(error)}"
            ) from error
        try:
            value = metric.compute()
        except (IndexError, RuntimeError, ValueError):
            return  # some need more samples
    number(value, task, name)


def sources_of(suite: Suite, split: Split) -> list[Source]:
    """The sources of a split.

    Raises:
        ValueError: If they are something else.
    """
    given = suite.sources(split)
    found = list(given.values()) if isinstance(given, Mapping) else [given]
    for source in found:
        if not isinstance(source, Source):
            raise ValueError(
                f"`sources('{split}')` of {type(suite).__name__} should be a source, or one for "
                f"each task, found {type(source).__name__}."
            )
    return found


def _check_inputs(inputs: Tensor, name: str) -> None:
    if inputs.is_floating_point() and not bool(inputs.sum().isfinite()):
        bad = ~inputs.flatten(1).isfinite().all(1) if inputs.dim() > 1 else ~inputs.isfinite()
        if bad.any():
            raise ValueError(
                f"Inputs of the {name} data should be finite, found NaN or infinity in "
                f"{int(bad.sum())} of {len(inputs)} samples, the first of them number "
                f"{int(bad.nonzero()[0, 0])}."
            )


def _check_targets(task: str, spec: TaskSpec, batches: Iterable[Batch], name: str) -> bool:
    """Check a task's targets, and tell whether there are any."""
    found = False
    for batch in batches:
        if batch.has_labels(task):
            target = batch.labelled(task, batch.targets[task])[1]
            wrong = spec.loss.check(target)
            if wrong is not None:
                where = "" if name == "training" else f" ({name})"
                raise ValueError(f"Targets of task '{task}'{where} should be {wrong}.")
            found = found or float(spec.loss.count(target)) > 0
    return found


def _shape(value: Any) -> str:
    return str(tuple(value.shape)) if isinstance(value, Tensor) else type(value).__name__
