"""Δ%: how much better than given references, averaged over metrics and then over tasks.

K.-K. Maninis, I. Radosavovic, I. Kokkinos, "Attentive single-tasking of multiple tasks", CVPR 2019.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

T = TypeVar("T")


def delta_percent(
    results: Mapping[str, Mapping[str, float]],
    reference: Mapping[str, Mapping[str, float]],
    higher_is_better: Mapping[str, Mapping[str, bool]],
) -> float:
    """Mean relative improvement over the reference in percent; positive is better.

    Every task counts the same, however many metrics it has.

    Args:
        results: ``{task: {metric: value}}``.
        reference: The same for the reference, usually one network per task.
        higher_is_better: Direction of every metric that counts; others are left out.

    Raises:
        ValueError: If a metric that counts is missing, or its reference value is zero.
    """
    if not any(higher_is_better.values()):
        raise ValueError("`higher_is_better` should name at least one metric, found none.")
    tasks = []
    for task, directions in higher_is_better.items():
        gains = []
        for metric, higher in directions.items():
            value = _lookup("results", results, task, metric)
            base = _lookup("reference", reference, task, metric)
            if base == 0:
                raise ValueError(
                    f"`reference` should be different from zero, found 0 for metric '{metric}' of "
                    f"task '{task}'. A relative improvement over zero is not defined; leave the "
                    "metric out of `higher_is_better`."
                )
            gains.append((value - base if higher else base - value) / abs(base))
        if gains:
            tasks.append(sum(gains) / len(gains))
    return 100 * sum(tasks) / len(tasks)


def _lookup(name: str, table: Mapping[str, Mapping[str, T]], task: str, metric: str) -> T:
    try:
        return table[task][metric]
    except KeyError:
        found = ", ".join(f"{t}: {sorted(row)}" for t, row in table.items())
        raise ValueError(
            f"`{name}` should hold metric '{metric}' of task '{task}', found {found or 'nothing'}."
        ) from None
