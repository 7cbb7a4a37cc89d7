"""What every run writes into its folder while it trains."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console

from moml._preflight import positive
from moml.callback import Callback
from moml.checkpoint import Checkpoint, make_folder
from moml.logging import Conflicts, Log, MetricsLog, Progress, TensorBoardLog


class RunRecords:
    """Checkpoints, metrics, TensorBoard events, and lines on the terminal.

    Args:
        folder: The run folder.
        resume: Continue from its last checkpoint.
        quiet: Print nothing while training.
        log_every: Steps between lines of the metrics file.
        checkpoint_every: Steps between checkpoints.
        conflicts_every: Steps between Gramians of weightings that do not look at them.
    """

    def __init__(
        self,
        folder: Path,
        *,
        resume: bool,
        quiet: bool,
        log_every: int,
        checkpoint_every: int,
        conflicts_every: int | None,
    ) -> None:
        make_folder(folder)
        self.checkpoint = Checkpoint(folder / "checkpoints", every=checkpoint_every, resume=resume)
        self.logs: list[Log] = [
            MetricsLog(folder / "metrics.jsonl", every=log_every),
            TensorBoardLog(folder / "tensorboard", every=log_every),
            Progress(console=Console(quiet=True) if quiet else None),
        ]
        self.conflicts_every = conflicts_every

    @property
    def best(self) -> Path:
        """File of the best weights."""
        return self.checkpoint.folder / "best.pt"

    def write(self, record: Mapping[str, Any]) -> None:
        """Give a record to every log."""
        for log in self.logs:
            log.write(record)

    def callbacks(self, validation: Callback) -> list[Callback]:
        """All of the run's, in the order checkpoints store them."""
        found: list[Callback] = [*self.logs, validation]
        if self.conflicts_every is not None:
            found.append(Conflicts(positive("conflicts_every", self.conflicts_every)))
        return found
