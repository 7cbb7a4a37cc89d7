"""What every space asks of its numbers."""

from __future__ import annotations


def at_least_one(**numbers: int) -> None:
    """Whether these are at least 1.

    Raises:
        ValueError: If one is not.
    """
    for name, value in numbers.items():
        if value < 1:
            raise ValueError(f"`{name}` should be at least 1, found {value}.")
