"""The picture of a network's parts: which tasks share what."""

from __future__ import annotations

from pathlib import Path

from moml.report.anatomy import Anatomy
from moml.report.picture import COLORS, INK, STYLE
from moml.report.text import grouped


def save_anatomy(file: Path, anatomy: Anatomy, *, title: str) -> None:
    """One row per part, one column per task, joined across the tasks that share it.

    Colours tell sets of tasks apart: the first is what all tasks share.

    Args:
        file: Where to; SVG, PDF or PNG by the name.
        anatomy: The network.
        title: Above the picture.
    """
    import matplotlib
    from matplotlib.figure import Figure
    from matplotlib.patches import FancyBboxPatch

    tasks, blocks = anatomy.tasks, anatomy.blocks
    sets = list(dict.fromkeys([tasks, *(block.tasks for block in blocks)]))
    with matplotlib.rc_context(STYLE):
        size = (3.6 + 1.1 * len(tasks), 1.2 + 0.34 * len(blocks))
        figure = Figure(figsize=size, layout="constrained")
        ax = figure.subplots()
        for row, block in enumerate(blocks):
            color = COLORS[sets.index(block.tasks) % len(COLORS)]
            for first, last in _runs([tasks.index(task) for task in block.tasks]):
                ax.add_patch(
                    FancyBboxPatch(
                        (first - 0.36, row - 0.26), last - first + 0.72, 0.52,
                        boxstyle="round,pad=0,rounding_size=0.12", color=color, linewidth=0,
                    )
                )  # fmt: skip
            if block.tasks:
                ax.plot([tasks.index(t) for t in block.tasks], [row] * len(block.tasks),
                        color=color, linewidth=1.5, zorder=0)  # fmt: skip
        ax.set_xlim(-0.6, len(tasks) - 0.4)
        ax.set_ylim(len(blocks) - 0.4, -0.6)
        ax.set_xticks(range(len(tasks)), tasks, rotation=0 if len(tasks) < 5 else 45,
                      ha="center" if len(tasks) < 5 else "left")  # fmt: skip
        ax.xaxis.tick_top()
        names = [f"{block.name}  {grouped(block.parameters)}" for block in blocks]
        ax.set_yticks(range(len(blocks)), names)
        ax.tick_params(length=0, labelcolor=INK)
        ax.grid(visible=False)
        for side in ax.spines.values():
            side.set_visible(False)
        figure.suptitle(title, color=INK)
        figure.savefig(file)


def _runs(columns: list[int]) -> list[tuple[int, int]]:
    """Neighbouring columns together, as first and last."""
    runs: list[tuple[int, int]] = []
    for column in columns:
        if runs and runs[-1][1] == column - 1:
            runs[-1] = (runs[-1][0], column)
        else:
            runs.append((column, column))
    return runs
