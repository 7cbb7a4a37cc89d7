"""The picture of a front."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from torch import Tensor

from moml.report.picture import COLORS, INK, STYLE


def save_picture(
    file: Path,
    points: Tensor,
    *,
    names: Sequence[str],
    reference: Sequence[float],
    title: str,
    front: Tensor | None = None,
) -> None:
    """Every pair of losses as a scatter, a known front as a line or cloud; SVG or PNG by the name.

    Args:
        file: Where to.
        points: Losses found, ``(n, m)``.
        names: What the losses are called.
        reference: The hypervolume's reference point; drawn where it is near.
        title: Above the picture.
        front: Points of the true front in order, ``(k, m)``, if known.
    """
    import matplotlib
    from matplotlib.figure import Figure

    m = points.shape[1]
    pairs = [(i, j) for i in range(m) for j in range(i + 1, m)]
    columns = min(len(pairs), 3)
    lines = -(-len(pairs) // columns)
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(4.2 * columns, 3.8 * lines), layout="constrained")
        figure.suptitle(title, color=INK)
        axes = figure.subplots(lines, columns, squeeze=False).flatten()
        for ax, (i, j) in zip(axes, pairs, strict=False):
            if front is not None and m == 2:
                ax.plot(front[:, i], front[:, j], color=COLORS[0], label="true front", zorder=1)
            elif front is not None:
                ax.scatter(front[:, i], front[:, j], s=2, color=COLORS[0], label="true front")
            ax.scatter(points[:, i], points[:, j], color=COLORS[1], label="found", zorder=2)
            largest = np.asarray(points.amax(0))
            if reference[i] <= 1.5 * largest[i] and reference[j] <= 1.5 * largest[j]:
                ax.scatter(reference[i], reference[j], marker="x", color=INK, label="reference")
            ax.set_xlabel(names[i])
            ax.set_ylabel(names[j])
            ax.legend()
        for ax in axes[len(pairs) :]:
            ax.set_visible(False)
        figure.savefig(file)
