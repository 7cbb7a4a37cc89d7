"""A small line chart as inline SVG, coloured by the page's style sheet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from moml.report.html import element, escape
from moml.report.run import Points
from moml.report.scale import Scale, fit_scale, steps_scale
from moml.report.text import number, tick

MOST_POINTS = 300
LEFT, RIGHT, TOP, BOTTOM = 46, 10, 8, 22


@dataclass(frozen=True)
class Series:
    """One line.

    Attributes:
        name: For hover texts and legends.
        points: Step and value.
        color: Number of its colour, 0 to 5.
        dots: Whether to mark every point.
    """

    name: str
    points: Points
    color: int = 0
    dots: bool = False


def line_chart(
    series: Sequence[Series],
    *,
    title: str,
    last_step: float,
    best_step: float | None = None,
    scale: Scale | None = None,
    size: tuple[int, int] = (340, 190),
) -> str:
    """An SVG element with all series over steps.

    Args:
        series: The lines; the last is drawn on top.
        title: What is shown, for screen readers.
        last_step: Right end of the axis.
        best_step: Where to draw a dashed line.
        scale: The vertical axis; made from the values unless given.
        size: Width and height in the units of the view box.
    """
    width, height = size
    y_scale = scale or fit_scale(y for line in series for _, y in line.points)
    frame = _Frame(steps_scale(last_step), y_scale, width, height)
    parts = [frame.axes()]
    if best_step is not None:
        x = frame.x(best_step)
        parts.append(
            f'<line class="best-step" x1="{x}" x2="{x}" y1="{TOP}" y2="{height - BOTTOM}"/>'
        )
    parts += [frame.line(line) for line in series if line.points]
    return element(
        "svg",
        "".join(parts),
        xmlns="http://www.w3.org/2000/svg",
        viewBox=f"0 0 {width} {height}",
        role="img",
        aria_label=title,
    )


@dataclass(frozen=True)
class _Frame:
    """Both axes, in pixels."""

    steps: Scale
    values: Scale
    width: int
    height: int

    def x(self, step: float) -> str:
        return _short(LEFT + self.steps(step) * (self.width - LEFT - RIGHT))

    def y(self, value: float) -> str:
        return _short(self.height - BOTTOM - self.values(value) * (self.height - TOP - BOTTOM))

    def axes(self) -> str:
        parts = []
        for value in self.values.ticks:
            y = self.y(value)
            parts.append(f'<line x1="{LEFT}" x2="{self.width - RIGHT}" y1="{y}" y2="{y}"/>')
            parts.append(
                f'<text x="{LEFT - 6}" y="{y}" dy="0.35em" text-anchor="end">{tick(value)}</text>'
            )
        for step in self.steps.ticks:
            anchor = "end" if self.steps(step) > 0.97 else "middle"
            parts.append(
                f'<text x="{self.x(step)}" y="{self.height - 6}" text-anchor="{anchor}">'
                f"{tick(step)}</text>"
            )
        return element("g", "".join(parts), class_="axis")

    def line(self, series: Series) -> str:
        points = thin(series.points)
        path = "L".join(f"{self.x(step)} {self.y(value)}" for step, value in points)
        parts = [f'<path d="M{path}"/>']
        if series.dots or len(points) == 1:
            radius = 2.6 if len(points) <= 40 else 1.6
            parts += [
                f'<circle cx="{self.x(step)}" cy="{self.y(value)}" r="{radius}"><title>'
                f"{escape(series.name)}, step {step:g}: {number(value)}</title></circle>"
                for step, value in points
            ]
        return element("g", "".join(parts), class_=f"series s{series.color}")


def thin(points: Points, most: int = MOST_POINTS) -> Points:
    """At most this many points, each the mean of as many neighbours."""
    stride = -(-len(points) // most)
    if stride <= 1:
        return points
    chunks = (points[i : i + stride] for i in range(0, len(points), stride))
    return [(chunk[-1][0], sum(y for _, y in chunk) / len(chunk)) for chunk in chunks]


def _short(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")
