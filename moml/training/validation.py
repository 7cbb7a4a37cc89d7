"""Metrics on held-out data, and the best weights by them."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from moml.architecture import Architecture
from moml.data import Batch, TaskSpec, as_batch
from moml.metrics.improvement import delta_percent
from moml.training.callback import Callback, Training
from moml.training.checkpoint import read_state, write_atomically

Metrics = dict[str, dict[str, float]]

_log = logging.getLogger("moml")


@dataclass(frozen=True)
class Scores:
    """Losses and metrics of one pass over a split.

    Attributes:
        losses: Mean loss per task.
        metrics: Per task and name.
        intervals: Half the widths of 95 % confidence intervals, of the metrics that have one.
    """

    losses: dict[str, float]
    metrics: Metrics
    intervals: Metrics | None = None


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Evaluation mode without gradients; every submodule's own mode is restored."""
    modes = [(m, m.training) for m in module.modules()]
    module.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for m, mode in modes:
            m.training = mode


def evaluate(
    architecture: Architecture,
    tasks: Mapping[str, TaskSpec],
    batches: Iterable[Batch],
    *,
    device: torch.device | str = "cpu",
) -> Scores:
    """Losses (mean over defined target entries) and metrics of every task over all batches."""
    metrics = {task: spec.metrics() for task, spec in tasks.items()}
    for one in metrics.values():
        for metric in one.values():
            metric.to(device)
            metric.distributed_available_fn = _alone
    totals, counts = dict.fromkeys(tasks, 0.0), dict.fromkeys(tasks, 0.0)
    names = tuple(tasks)
    with evaluating(architecture):
        for batch in batches:
            batch = as_batch(batch, names).to(device)
            present = [task for task in tasks if batch.has_labels(task)]
            predictions = architecture(batch.inputs, present)
            for task in present:
                prediction, target = batch.labelled(task, predictions[task])
                count = float(tasks[task].loss.count(target))
                if count == 0:  # labels of which none is defined
                    continue
                totals[task] += float(tasks[task].loss(prediction, target)) * count
                counts[task] += count
                for metric in metrics[task].values():
                    metric.update(prediction, target)
    seen = [task for task in tasks if counts[task]]
    values = {t: {n: number(m.compute(), t, n) for n, m in metrics[t].items()} for t in seen}
    return Scores({task: totals[task] / counts[task] for task in seen}, values)


def number(value: Any, task: str, name: str) -> float:
    """What a metric computed, as a number.

    Raises:
        ValueError: If it is not one number; names task and metric.
    """
    if isinstance(value, Tensor) and value.numel() != 1:
        found = f"shape {tuple(value.shape)}"
    elif isinstance(value, (Tensor, int, float)):
        return float(value)
    else:
        found = type(value).__name__
    raise ValueError(
        f"Metric '{name}' of task '{task}' should be one number, found {found}. Average over "
        "classes or outputs (`average='macro'`), or give each a metric of its own."
    )


def _alone() -> bool:
    """What torchmetrics asks: whoever evaluates sees all batches, other processes have none."""
    return False


def directions(tasks: Mapping[str, TaskSpec]) -> dict[str, dict[str, bool]]:
    """Whether higher is better, per task and metric."""
    return {
        task: {name: bool(metric.higher_is_better) for name, metric in spec.metrics().items()}
        for task, spec in tasks.items()
    }


def selection_score(
    metrics: Metrics, tasks: Mapping[str, TaskSpec], reference: Metrics | None = None
) -> float:
    """What model selection maximises.

    The improvement over given single-task results in percent, over the metrics that these have;
    without them the mean over tasks of the main metric divided by its scale, negated where lower is
    better.
    """
    higher = directions(tasks)
    if reference is not None:
        compared = {
            task: {name: up for name, up in found.items() if name in reference[task]}
            for task, found in higher.items()
        }
        return delta_percent(metrics, reference, compared)
    signed = [
        (1 if higher[task][spec.main] else -1) * metrics[task][spec.main] / spec.scale
        for task, spec in tasks.items()
        if task in metrics
    ]
    return sum(signed) / len(signed)


class Validation(Callback):
    """Measures every so many steps and at the end, and keeps the best weights.

    Args:
        module: What is trained.
        measure: Gives scores on the validation split; selection never sees another.
        score: What selection maximises.
        best: File for the best weights.
        every: Steps between evaluations.
        write: Receives one record per evaluation, for the metrics file.
        tasks: Tasks that should have labels in every evaluation.
    """

    def __init__(
        self,
        module: nn.Module,
        measure: Callable[[], Scores],
        score: Callable[[Metrics], float],
        *,
        best: Path,
        every: int,
        write: Callable[[dict[str, Any]], None] = lambda record: None,
        tasks: Iterable[str] = (),
    ) -> None:
        self.module, self.measure, self.score = module, measure, score
        self.best, self.every, self.write = best, every, write
        self.best_score, self.best_step = float("-inf"), 0
        self.tasks = tuple(tasks)

    def after_step(self, training: Training) -> None:
        """Evaluate if it is time; a score that is NaN or infinite is said and is never the best.

        Raises:
            ValueError: If a task has no label in the validation data.
        """
        if training.step % self.every and training.step != training.steps:
            return
        scores = self.measure()
        for task in self.tasks:
            if task not in scores.metrics:
                raise ValueError(
                    f"Task '{task}' should have labels in the validation data, found none. Leave "
                    "it out with `tasks`."
                )
        score = self.score(scores.metrics)
        finite = math.isfinite(score)
        if not finite:
            _log.warning(
                "Step %d: the validation score should be finite, found %s (%s); this step is not "
                "a candidate for the best.",
                training.step,
                score,
                _culprits(scores.metrics),
            )
        better = finite and (score > self.best_score or self.best_step == 0)
        if better:
            self.best_score, self.best_step = score, training.step
            state = {"step": training.step, "module": self.module.state_dict()}
            write_atomically(state, self.best)
        self.write(eval_record("val", training.step, scores, score, best=better))

    def load_best(self) -> None:
        """Put the best weights into the network.

        Raises:
            ValueError: If no validation had a finite score.
        """
        if self.best_step == 0:
            raise ValueError(
                "The validation score should be finite at least once, found NaN or infinity in "
                "every validation. Look at the validation data and the metrics."
            )
        self.module.load_state_dict(read_state(self.best)["module"])

    def state_dict(self) -> dict[str, Any]:
        """The best so far."""
        return {"best_score": self.best_score, "best_step": self.best_step}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore the best so far."""
        self.best_score, self.best_step = state["best_score"], state["best_step"]


def _culprits(metrics: Metrics) -> str:
    """Which metrics are not finite."""
    bad = [
        f"{name} of '{task}'"
        for task, found in metrics.items()
        for name, value in found.items()
        if not math.isfinite(value)
    ]
    return ", ".join(bad) or "no metric by itself"


def eval_record(
    split: str, step: int, scores: Scores, score: float, *, best: bool
) -> dict[str, Any]:
    """One evaluation as a line of the metrics file."""
    record: dict[str, Any] = {
        "kind": "eval",
        "split": split,
        "step": step,
        "losses": scores.losses,
        "metrics": scores.metrics,
        "score": score,
        "best": best,
    }
    return record if scores.intervals is None else {**record, "intervals": scores.intervals}
