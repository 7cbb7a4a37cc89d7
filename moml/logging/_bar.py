"""A progress bar with a line of numbers below it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from rich import progress
from rich.console import Console, RenderableType
from rich.text import Text

from moml.training.callback import Training


class _StatusProgress(progress.Progress):
    """A rich progress bar that shows one more line."""

    status = ""

    def get_renderables(self) -> Iterable[RenderableType]:
        """The bar, then the line."""
        yield self.make_tasks_table(self.tasks)
        yield Text(self.status, style="dim", no_wrap=True, overflow="ellipsis")


class Bar:
    """The live display of `moml.logging.Progress`."""

    def __init__(self, console: Console) -> None:
        self._losses: dict[str, float] = {}
        self._weights: dict[str, float] = {}
        self._progress = _StatusProgress(
            progress.TextColumn("step"),
            progress.MofNCompleteColumn(),
            progress.BarColumn(bar_width=None),
            progress.TaskProgressColumn(show_speed=True),
            progress.TimeRemainingColumn(),
            console=console,
            refresh_per_second=4,
            expand=True,
        )

    def start(self, training: Training) -> None:
        """Show the bar."""
        self._task = self._progress.add_task("train", total=training.steps, completed=training.step)
        self._progress.start()

    def advance(self, training: Training) -> None:
        """One step further."""
        self._progress.update(self._task, completed=training.step)

    def train(self, record: Mapping[str, Any]) -> None:
        """Show the numbers of the last interval; tasks absent from it keep theirs."""
        self._losses.update(record["losses"])
        self._weights.update(record.get("weights", {}))
        self._progress.status = "   ".join(
            f"{name}  " + "  ".join(f"{task} {value:.3g}" for task, value in values.items())
            for name, values in (("loss", self._losses), ("weight", self._weights))
            if values
        )

    def finish(self, training: Training) -> None:
        """Leave the bar as it is and give the terminal back."""
        self._progress.stop()
