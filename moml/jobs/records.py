"""What every run writes into its folder while it trains."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console

from moml._support.files import read_json
from moml.jobs.preflight import positive
from moml.logging import Conflicts, Log, MetricsLog, Progress, TensorBoardLog, read_metrics
from moml.training.callback import Callback
from moml.training.checkpoint import Checkpoint


class RunRecords:
    """Checkpoints, metrics, TensorBoard events, and lines on the terminal.

    Args:
        folder: The run folder.
        resume: Continue from its last checkpoint.
        quiet: Print nothing while training.
        log_every: Steps between lines of the metrics file.
        checkpoint_every: Steps between checkpoints.
        conflicts_every: Steps between Gramians of weightings that do not look at them.

    Raises:
        ValueError: If the folder holds another run, or one whose checkpoints are gone.
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
        saved = folder / "checkpoints"
        reached = checkpoint_every if saved.exists() else 0  # steps of which no state need be there
        self.checkpoint = Checkpoint(saved, every=checkpoint_every, resume=resume)
        if not self.checkpoint.found:
            _nothing_lost(folder, resume=resume, reached=reached)
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


def finished(folder: Path, **goal: int) -> dict[str, Any] | None:
    """Results of a run that has reached its goal; ``None`` if there is something left to do.

    A finished run that is to go further is opened again: its results stay beside the new ones, and
    so does every line of ``metrics.jsonl``.

    Args:
        folder: The run folder.
        goal: What `results.json` says under this name at the end, such as ``steps``.

    Raises:
        ValueError: If the run has gone further already.
    """
    file = folder / "results.json"
    if not file.exists():
        return None
    results: dict[str, Any] = read_json(file)
    ((name, value),) = goal.items()
    done = results.get(name, value)
    if done == value:
        return results
    if done > value:
        raise ValueError(
            f"`{name}` should be at least the {done} that the run in '{folder}' has done, "
            f"found {value}."
        )
    _keep_lines(folder)
    file.replace(folder / f"results-{done}.json")
    return None


def _keep_lines(folder: Path) -> None:
    """Let the last checkpoint know of the lines that were written after it."""
    checkpoint, log = Checkpoint(folder / "checkpoints", resume=True), folder / "metrics.jsonl"
    state = checkpoint.load()
    if state is None or not log.exists():
        return
    for callback in state["callbacks"]:
        if "offset" in callback:
            callback["offset"] = log.stat().st_size
    checkpoint.save(state)


def _nothing_lost(folder: Path, *, resume: bool, reached: int) -> None:
    """Refuse a start at the first step where later steps have been logged."""
    log = folder / "metrics.jsonl"
    steps = [int(line["step"]) for line in read_metrics(log)] if log.exists() else []
    if not resume and (steps or (folder / "results.json").exists()):
        raise ValueError(
            f"`folder` should be new, found a run in '{folder}'. "
            "Use `resume=True` to continue it, or another folder."
        )
    if steps and max(steps) > reached:  # else it was stopped before the first one
        raise ValueError(
            f"'{folder / 'checkpoints'}' should hold the state of the run, which has logged "
            f"{max(steps)} steps, found none. Put it back, or start anew in another folder."
        )
