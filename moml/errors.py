"""Errors that carry what the loop needs to say where they happened."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["CheckpointError", "NoLabelsError", "NonFiniteError"]


class NonFiniteError(ValueError):
    """A loss or a gradient is NaN or infinite.

    Args:
        what: ``"loss"`` or ``"gradient"``.
        tasks: The tasks concerned.
    """

    def __init__(self, what: str, tasks: Sequence[str]) -> None:
        names = ", ".join(f"'{task}'" for task in tasks)
        super().__init__(f"The {what} of task {names} should be finite, found NaN or infinity.")
        self.what, self.tasks = what, tuple(tasks)

    def with_message(self, message: str) -> NonFiniteError:
        """The same error, saying where it happened."""
        located = NonFiniteError(self.what, self.tasks)
        located.args = (message,)
        return located


class NoLabelsError(ValueError):
    """No task has a defined label in a batch; `moml.fit` leaves such a batch out and counts it.

    Args:
        tasks: The tasks.
    """

    def __init__(self, tasks: Sequence[str]) -> None:
        super().__init__(
            "The batch should carry a label for at least one task, found none for "
            f"{', '.join(map(repr, tasks))}. Use larger batches, or drop the ones without labels."
        )
        self.tasks = tuple(tasks)


class CheckpointError(ValueError):
    """A checkpoint cannot be read, or does not belong to this run."""
