"""Logs are callbacks that also take records from elsewhere, such as validation results."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any

from moml.logging._means import Means
from moml.training.callback import Callback, Training


class Log(Callback):
    """A callback that others may write records to."""

    @abstractmethod
    def write(self, record: Mapping[str, Any]) -> None:
        """Take a record, of kind ``"train"`` or ``"eval"``."""


class PeriodicLog(Log):
    """Writes a train record every few steps, with means over the steps since the last one.

    The steps left over at the end make a last, shorter record.

    Args:
        every: Number of steps between records.

    Raises:
        ValueError: If ``every`` is below 1.
    """

    def __init__(self, *, every: int) -> None:
        self.every = positive("every", every)
        self.means = Means()

    def after_step(self, training: Training) -> None:
        """Add to the means; write a record when it is time."""
        self.means.add(training)
        if training.step % self.every == 0 or training.step == training.steps:
            self.write(self.means.take(training))  # before the last checkpoint, which knows of it

    def state_dict(self) -> dict[str, Any]:
        """The sums so far."""
        return {"means": self.means.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore the sums."""
        self.means.load_state_dict(state["means"])


def positive(name: str, value: int) -> int:
    """The value itself.

    Raises:
        ValueError: If it is below 1.
    """
    if value < 1:
        raise ValueError(f"`{name}` should be at least 1, found {value}.")
    return value
