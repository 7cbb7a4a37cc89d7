"""What a search found: its front as a picture, and every cell drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from moml.report.html import cell, element, escape, section, table
from moml.report.run import StoredRun
from moml.report.scale import fit_scale

WIDTH, HEIGHT, MARGIN = 640, 300, 46
STEP, ARC = 92, 24  # between nodes of a drawn cell, and height of an arc per node it spans


def search_section(run: StoredRun) -> str:
    """The front on test data and its cells; empty if the run is no finished search."""
    front = run.results.get("front")
    if not front:
        return ""
    note = (
        f"{run.results['trained']} networks trained, {run.results['training']}; the front is that "
        "of validation errors, clean and under ten steps of PGD, and exact size. Numbers are "
        f"accuracies on test data, perturbations of radius {run.results['eps']:g}."
    )
    return section(
        "Front", _picture(front), _table(front), *map(_drawn, enumerate(front, 1)), note=note
    )


def _table(front: Sequence[Mapping[str, Any]]) -> str:
    names = list(front[0]["test"])
    head = [cell(title, tag="th", class_="num") for title in ("", "Parameters", "MFLOPs", *names)]
    rows = [
        [
            cell(str(i), class_="num"),
            cell(f"{entry['parameters']:,}", class_="num"),
            cell(f"{entry['flops'] / 1e6:.3f}", class_="num"),
            *(cell(f"{entry['test'][name]:.3f}", class_="num") for name in names),
        ]
        for i, entry in enumerate(front, 1)
    ]
    return table(head, rows)


def _picture(front: Sequence[Mapping[str, Any]]) -> str:
    """Accuracy against parameters, clean and under attack."""
    x_scale = fit_scale(entry["parameters"] for entry in front)
    y_scale = fit_scale(e["test"][name] for e in front for name in ("clean", "pgd"))

    def place(x: float, y: float) -> tuple[float, float]:
        return (
            MARGIN + (WIDTH - 2 * MARGIN) * x_scale(x),
            HEIGHT - MARGIN - (HEIGHT - 1.5 * MARGIN) * y_scale(y),
        )

    parts = []
    for tick in x_scale.ticks:
        x, y = place(tick, y_scale.low)
        parts.append(f'<text x="{x:.1f}" y="{y + 16:.1f}" text-anchor="middle">{tick:g}</text>')
    for tick in y_scale.ticks:
        x, y = place(x_scale.low, tick)
        parts.append(f'<line x1="{x}" x2="{WIDTH - MARGIN}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text x="{x - 6}" y="{y + 4:.1f}" text-anchor="end">{tick:g}</text>')
    middle = f'<text x="{WIDTH / 2}" y="{HEIGHT - 8}" text-anchor="middle">parameters</text>'
    body = element("g", "".join([*parts, middle]), class_="axis")
    for number, name in enumerate(("clean", "pgd")):
        points = [place(e["parameters"], e["test"][name]) for e in front]
        path = "M" + " L".join(f"{x:.1f},{y:.1f}" for x, y in points)
        dots = "".join(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4"/>' for x, y in points)
        body += element("g", f'<path d="{path}"/>{dots}', class_=f"series s{number}")
    names = "".join(
        element("span", f'<i class="s{i}"></i>{escape(name)}')
        for i, name in enumerate(("clean accuracy", "accuracy under PGD"))
    )
    svg = element("svg", body, viewBox=f"0 0 {WIDTH} {HEIGHT}", role="img")
    return element("div", names, class_="legend") + element("figure", svg)


def _drawn(numbered: tuple[int, Mapping[str, Any]]) -> str:
    """The cells of one network of the front."""
    number, entry = numbered
    pictures = []
    for name, choice in entry["genotype"]["cells"].items():
        edges = [(int(i), int(j), str(op)) for i, j, op in choice if op != "none"]
        title = f"{number}: {name}, {entry['parameters']:,} parameters"
        caption = element("figcaption", escape(title))
        pictures.append(element("figure", caption + draw_cell(edges)))
    return element("div", "".join(pictures), class_="grid")


def draw_cell(edges: Sequence[tuple[int, int, str]]) -> str:
    """A cell as SVG: nodes in a row, edges as arcs with the names of their operations.

    Args:
        edges: Source, target and operation.
    """
    nodes = 1 + max((j for _, j, _ in edges), default=0)
    span = max((j - i for i, j, _ in edges), default=1)
    base = 34 + ARC * span
    parts = []
    for i, j, op in edges:
        left, right = 30 + STEP * i, 30 + STEP * j
        rise = ARC * (j - i) if j - i > 1 else 0
        peak, label = base - 2 * rise, base - rise - 6
        parts.append(
            f'<path d="M{left},{base} Q{(left + right) / 2},{peak} {right},{base}"/>'
            f'<text x="{(left + right) / 2}" y="{label}" text-anchor="middle" '
            f'stroke="none" fill="var(--ink)" font-size="11">{escape(op)}</text>'
        )
    arcs = element("g", "".join(parts), stroke="var(--s0)", fill="none", stroke_width="1.6")
    dots = "".join(
        f'<circle cx="{30 + STEP * n}" cy="{base}" r="10" fill="var(--card)" '
        f'stroke="var(--ink)"/><text x="{30 + STEP * n}" y="{base + 4}" text-anchor="middle" '
        f'fill="var(--ink)" font-size="11">{n}</text>'
        for n in range(nodes)
    )
    width = 60 + STEP * (nodes - 1)
    return element("svg", arcs + dots, viewBox=f"0 0 {width} {base + 20}", role="img")
