"""Means of losses and weights over an interval of steps, and the cosines between gradients."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from moml.logging._diagnostics import diagnostics
from moml.training.callback import Training


class Means:
    """Accumulates steps into one train record.

    A task counts at the steps where it was present. Cosines are those of the last step of the
    interval at which the Gramian was known.
    """

    def __init__(self) -> None:
        self._clear()

    def _clear(self) -> None:
        self.steps = 0
        self.losses: dict[str, list[float]] = {}  # task -> [sum, count]
        self.weights: dict[str, list[float]] = {}
        self.curves: dict[str, dict[str, list[float]]] = {}
        self.gramian: Tensor | None = None
        self.applied: Tensor | None = None  # weights of the same step
        self.names: tuple[str, ...] = ()

    def add(self, training: Training) -> None:
        """Take in the step just done."""
        record, evaluation = training.record, training.evaluation
        assert record is not None
        self.steps += 1
        _accumulate(self.losses, record.losses)
        _accumulate(self.weights, record.weights)
        for chart, lines in record.curves.items():
            _accumulate(self.curves.setdefault(chart, {}), lines)
        if evaluation is not None and (gramian := evaluation.known_gramian) is not None:
            self.gramian, self.names = gramian, evaluation.names
            self.applied = training.weights

    def take(self, training: Training) -> dict[str, Any]:
        """The train record of the interval, which ends here."""
        assert training.record is not None
        tasks = training.problem.tasks
        record: dict[str, Any] = {
            "kind": "train",
            "step": training.step,
            "epoch": training.record.epoch,
            "losses": _means(self.losses, tasks),
        }
        if self.weights:
            record["weights"] = _means(self.weights, tasks)
        if self.curves:
            record["curves"] = {
                chart: _means(sums, list(sums)) for chart, sums in self.curves.items()
            }
        record["learning_rate"] = training.updater.learning_rate()
        if self.gramian is not None:
            record["cosines"], record["tasks"] = cosines(self.gramian), list(self.names)
            record["diagnostics"] = diagnostics(self.gramian, self.applied)
        self._clear()
        return record

    def state_dict(self) -> dict[str, Any]:
        """The sums, as plain data."""
        return {
            "steps": self.steps,
            "losses": {task: list(pair) for task, pair in self.losses.items()},
            "weights": {task: list(pair) for task, pair in self.weights.items()},
            "curves": {c: {k: list(v) for k, v in s.items()} for c, s in self.curves.items()},
            "gramian": None if self.gramian is None else self.gramian.tolist(),
            "applied": None if self.applied is None else self.applied.tolist(),
            "names": list(self.names),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore the sums."""
        self.steps, self.names = state["steps"], tuple(state["names"])
        self.losses = {task: list(pair) for task, pair in state["losses"].items()}
        self.weights = {task: list(pair) for task, pair in state["weights"].items()}
        curves = state.get("curves", {})  # none in checkpoints of earlier versions
        self.curves = {c: {k: list(v) for k, v in sums.items()} for c, sums in curves.items()}
        gramian = state["gramian"]
        self.gramian = None if gramian is None else torch.tensor(gramian, dtype=torch.float64)
        applied = state.get("applied")
        self.applied = None if applied is None else torch.tensor(applied, dtype=torch.float64)


def cosines(gramian: Tensor) -> list[list[float | None]]:
    """Cosines between gradients, rounded to six decimals; ``None`` where a gradient is zero.

    Args:
        gramian: Inner products of the gradients, ``(m, m)``.
    """
    norms = gramian.diagonal().clamp(min=0).sqrt()
    values = (gramian / norms[:, None] / norms[None, :]).clamp(-1, 1).tolist()  # (m, m)
    zero = (norms == 0).tolist()
    return [
        [None if zero[i] or zero[j] else round(value, 6) for j, value in enumerate(row)]
        for i, row in enumerate(values)
    ]


def _accumulate(sums: dict[str, list[float]], values: Mapping[str, float]) -> None:
    for task, value in values.items():
        pair = sums.setdefault(task, [0.0, 0])
        pair[0] += value
        pair[1] += 1


def _means(sums: Mapping[str, Sequence[float]], tasks: Sequence[str]) -> dict[str, float]:
    """Means in the order of the problem's tasks."""
    return {task: sums[task][0] / sums[task][1] for task in tasks if task in sums}
