"""A small table that grows by a line every interval, for log files and pipes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from time import perf_counter
from typing import Any

from rich.console import Console

from moml.training.callback import Training


class Lines:
    """The plain display of `moml.logging.Progress`.

    One column per task's loss, then per task's weight, as far as the width allows; with too many
    tasks, the mean and the largest loss.
    """

    def __init__(self, console: Console) -> None:
        self.console = console
        self._header = False

    def start(self, training: Training) -> None:
        """Start the clock."""
        self._tasks, self._steps = training.problem.tasks, training.steps
        self._first = self._last = (training.step, perf_counter())
        if training.step:
            self._print(f"Continuing after step {training.step} of {training.steps}.")

    def advance(self, training: Training) -> None:
        """Nothing is shown between lines."""

    def train(self, record: Mapping[str, Any]) -> None:
        """One more line."""
        cells = [(f"{'step':>6}", f"{record['step']:>6}")]
        cells += self._numbers(record["losses"], record.get("weights", {}))
        cells += self._speed(record["step"])
        if not self._header:
            self._print("  ".join(title for title, _ in cells))
            self._header = True
        self._print("  ".join(value for _, value in cells))

    def finish(self, training: Training) -> None:
        """Nothing to close."""

    def _numbers(
        self, losses: Mapping[str, float], weights: Mapping[str, float]
    ) -> list[tuple[str, str]]:
        columns = _columns(self._tasks, losses)
        if weights:
            columns += _columns(self._tasks, weights, prefix="w ", digits=3)
        room = self.console.width - 6 - 18
        if _width(columns) > room:
            columns = columns[: len(self._tasks)]
        if _width(columns) <= room:
            return columns
        largest = max(losses, key=lambda task: losses[task])
        mean = sum(losses.values()) / len(losses)
        name = f"{losses[largest]:.4g} {largest}"
        return [(f"{'mean loss':>9}", f"{mean:9.4g}"), (f"{'largest':<28}", f"{name:<28.28}")]

    def _speed(self, step: int) -> list[tuple[str, str]]:
        """Steps per second since the last line, and the time to go at the mean pace so far."""
        now = perf_counter()
        rate = (step - self._last[0]) / max(now - self._last[1], 1e-9)
        pace = (now - self._first[1]) / max(step - self._first[0], 1)
        self._last = (step, now)
        return [
            (f"{'step/s':>7}", f"{rate:7.3g}" if rate < 1000 else f"{rate:7.0f}"),
            (f"{'to go':>7}", f"{_clock(pace * (self._steps - step)):>7}"),
        ]

    def _print(self, line: str) -> None:
        self.console.print(line.rstrip(), markup=False, highlight=False, soft_wrap=True)


def _columns(
    tasks: Sequence[str], values: Mapping[str, float], *, prefix: str = "", digits: int = 4
) -> list[tuple[str, str]]:
    columns = []
    for task in tasks:
        title = prefix + task if len(prefix + task) <= 12 else (prefix + task)[:11] + "…"
        width = max(8, len(title))
        text = f"{values[task]:#.{digits}g}".rstrip(".") if task in values else "-"
        columns.append((f"{title:>{width}}", f"{text:>{width}}"))
    return columns


def _width(columns: Sequence[tuple[str, str]]) -> int:
    return sum(2 + len(title) for title, _ in columns)


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
