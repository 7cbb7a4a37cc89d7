"""The same records as scalars for TensorBoard."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from moml.logging._base import PeriodicLog
from moml.training.callback import Training

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter


class TensorBoardLog(PeriodicLog):
    """Writes TensorBoard scalars such as ``loss/task``, ``weight/task`` and ``val/task/metric``.

    Events after the checkpoint of a resumed run are purged.

    Args:
        folder: Where event files go.
        every: Number of steps between train records.
    """

    def __init__(self, folder: str | Path, *, every: int) -> None:
        super().__init__(every=every)
        self.folder = Path(folder)
        self._writer: SummaryWriter | None = None

    def start(self, training: Training) -> None:
        """Open an event file."""
        self._writer = _open(self.folder, purge_step=training.step + 1 if training.step else None)

    def write(self, record: Mapping[str, Any]) -> None:
        """Add every number of the record as a scalar; also possible after training."""
        writer = self._writer if self._writer is not None else _open(self.folder)
        for tag, value in scalars(record):
            writer.add_scalar(tag, value, record["step"])
        if writer is not self._writer:
            writer.close()

    def finish(self, training: Training) -> None:
        """Close the event file."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def state_dict(self) -> dict[str, Any]:
        """The sums so far; events are on their way to the disk by then."""
        if self._writer is not None:
            self._writer.flush()
        return super().state_dict()


def _open(folder: Path, *, purge_step: int | None = None) -> SummaryWriter:
    from torch.utils.tensorboard import SummaryWriter

    return SummaryWriter(str(folder), purge_step=purge_step)


def scalars(record: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """Tag and value of every number in a record that is defined."""
    found = _train_scalars(record) if record["kind"] == "train" else _eval_scalars(record)
    return ((tag, value) for tag, value in found if value is not None)


def _train_scalars(record: Mapping[str, Any]) -> Iterator[tuple[str, float | None]]:
    yield from ((f"loss/{task}", value) for task, value in record["losses"].items())
    yield from ((f"weight/{task}", value) for task, value in record.get("weights", {}).items())
    yield "learning_rate", record["learning_rate"]
    tasks = record.get("tasks", ())
    for i, first in enumerate(tasks):
        for j in range(i + 1, len(tasks)):
            yield f"cosine/{first}_{tasks[j]}", record["cosines"][i][j]
    for name, value in record.get("diagnostics", {}).items():
        yield f"gradients/{name}", value


def _eval_scalars(record: Mapping[str, Any]) -> Iterator[tuple[str, float | None]]:
    split = record["split"]
    for task, value in record.get("losses", {}).items():
        yield f"{split}/{task}/loss", value
    for task, metrics in record.get("metrics", {}).items():
        yield from ((f"{split}/{task}/{name}", value) for name, value in metrics.items())
    yield f"{split}/score", record.get("score")
