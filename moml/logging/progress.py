"""How far training is: a bar on a terminal, a few plain lines elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console

from moml.logging._bar import Bar
from moml.logging._base import Log
from moml.logging._lines import Lines
from moml.logging._means import Means
from moml.training.callback import Training

LINES, UPDATES = 20, 200  # at most, per run


class Progress(Log):
    """Shows losses, weights, validation scores and the remaining time.

    Args:
        console: Where to; standard output unless given.
    """

    def __init__(self, *, console: Console | None = None) -> None:
        self.console = console if console is not None else Console()
        self._means = Means()
        self._display: Bar | Lines | None = None
        self._every = 1

    def start(self, training: Training) -> None:
        """Open the display."""
        live = self.console.is_terminal
        self._display = (Bar if live else Lines)(self.console)
        self._every = interval(training.steps, most=UPDATES if live else LINES)
        self._display.start(training)

    def after_step(self, training: Training) -> None:
        """Take in the step; show the means of the interval when it is over."""
        assert self._display is not None
        self._means.add(training)
        self._display.advance(training)
        if training.step % self._every == 0 or training.step == training.steps:
            self._display.train(self._means.take(training))

    def write(self, record: Mapping[str, Any]) -> None:
        """Show a validation or test result."""
        if record["kind"] == "eval":
            live = self.console.is_terminal  # a file or a pipe has no edge to cut lines at
            self.console.print(
                summary(record),
                markup=False,
                highlight=False,
                no_wrap=True,
                overflow="ellipsis" if live else "ignore",
                crop=live,
            )

    def finish(self, training: Training) -> None:
        """Close the display."""
        if self._display is not None:
            self._display.finish(training)


def interval(steps: int, *, most: int) -> int:
    """The smallest 1, 2 or 5 times a power of ten that makes at most so many intervals."""
    power = 1
    while True:
        for factor in (1, 2, 5):
            if factor * power * most >= steps:
                return factor * power
        power *= 10


def summary(record: Mapping[str, Any]) -> str:
    """One line about a validation or test result."""
    head = f"{record['step']:>6}  {record['split']}"
    if record.get("score") is not None:
        head += f"  score {record['score']:.4g}" + (" (best)" if record.get("best") else "")
    metrics = (
        f"{task} {name} {value:.4g}"
        for task, values in record.get("metrics", {}).items()
        for name, value in values.items()
        if value is not None
    )
    return "  ".join((head, *metrics))
