"""The picture of the front: clean against robust accuracy of every weighting."""

from __future__ import annotations

import io
from statistics import fmean
from typing import Any

from moml_experiments.few_shot_front import Points, accuracies

_NO_DATE: dict[str, dict[str, Any]] = {"png": {}, "svg": {"Date": None}}


def picture(points: Points, form: str) -> bytes:
    """Clean against robust accuracy: seeds small, means large, constant weights joined."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 4.2))
    axes = figure.subplots()
    constant = [name for name in points if name.startswith("EW")]
    groups = {"EW, constant weights": constant} | {n: [n] for n in points if n not in constant}
    colors = ("#5b6770", "#0c58a0", "#2a9d8f", "#b33e06")
    styles = zip(groups.items(), colors, "os^D", strict=True)
    for (label, names), color, marker in styles:
        means = []
        for name in names:
            x, y = accuracies(points[name], "clean"), accuracies(points[name], "robust")
            axes.plot(x, y, marker, color=color, alpha=0.35, markersize=4, linestyle="none")
            means.append((fmean(x), fmean(y)))
        axes.plot(*zip(*means, strict=True), marker + "-", color=color, label=label, markersize=8)
    for name in constant:
        x, y = fmean(accuracies(points[name], "clean")), fmean(accuracies(points[name], "robust"))
        axes.annotate(name.split()[1], (x, y), xytext=(6, 6), textcoords="offset points")
    axes.set_xlabel("clean query accuracy, %")
    axes.set_ylabel("query accuracy under PGD-10, %")
    axes.grid(alpha=0.25)
    axes.legend(frameon=False)
    buffer = io.BytesIO()
    with rc_context({"svg.hashsalt": "front"}):  # the same names in the file every time
        figure.savefig(buffer, format=form, dpi=120, bbox_inches="tight", metadata=_NO_DATE[form])
    return buffer.getvalue()
