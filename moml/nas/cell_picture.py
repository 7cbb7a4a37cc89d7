"""The picture of cells: nodes from left to right, what each live edge carries beside it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from moml.nas.cell import CellSpec, Choice
from moml.nas.genotype import Genotype
from moml.nas.search_space import SearchSpace
from moml.report.picture import COLORS, INK, STYLE

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLUMNS = 3
BEND = 0.25  # of edges that pass a node by, per node


def save_cells(
    file: Path, space: SearchSpace, genotypes: Sequence[Genotype], *, titles: Sequence[str]
) -> None:
    """One panel for every cell of every genotype; SVG, PDF or PNG by the file's name.

    Args:
        file: Where to.
        space: The genotypes' space.
        genotypes: What to draw; dead edges are left out.
        titles: One for each genotype.
    """
    import matplotlib
    from matplotlib.figure import Figure

    panels = [
        (cell, genotype.by_name[name], title if len(space.spec.cells) == 1 else f"{title}, {name}")
        for genotype, title in zip(genotypes, titles, strict=True)
        for name, cell in space.spec.cells
    ]
    columns = min(COLUMNS, len(panels))
    rows = -(-len(panels) // columns)
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(4.5 * columns, 3.0 * rows), layout="constrained")
        axes = figure.subplots(rows, columns, squeeze=False).flatten()
        for ax in axes:
            ax.set_axis_off()
        for ax, (cell, choice, title) in zip(axes, panels, strict=False):
            ax.set_title(title, color=INK)
            draw_cell(ax, cell, choice)
        figure.savefig(file)


def draw_cell(ax: Axes, cell: CellSpec, choice: Choice) -> None:
    """Draw a cell's live edges into these axes.

    Args:
        ax: Where to.
        cell: What the cell may look like.
        choice: What its edges carry.
    """
    import networkx

    graph = cell.graph(cell.live(choice))
    place = {node: (max(node - cell.inputs + 1, 0), _height(node, cell)) for node in graph}
    networkx.draw_networkx_nodes(
        graph, place, ax=ax, node_size=350, node_color="white", edgecolors=COLORS[0]
    )
    networkx.draw_networkx_labels(graph, place, ax=ax, font_size=8, font_color=INK)
    for number, (source, target, op) in enumerate(graph.edges(data="op")):
        span = place[target][0] - place[source][0]
        style = f"arc3,rad={-BEND * (span - 1) * (-1) ** number:.3f}"
        edge = [(source, target)]
        networkx.draw_networkx_edges(
            graph, place, edgelist=edge, ax=ax, edge_color=INK, connectionstyle=style,
            node_size=350, arrowsize=8,
        )  # fmt: skip
        networkx.draw_networkx_edge_labels(
            graph, place, {edge[0]: op}, ax=ax, font_size=7, connectionstyle=style, rotate=False,
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.5},
        )  # fmt: skip
    ax.margins(0.1)


def _height(node: int, cell: CellSpec) -> float:
    """Inputs stand above one another; inner nodes are staggered, so that edges do not coincide."""
    if node < cell.inputs:
        return node - (cell.inputs - 1) / 2
    return 0.0 if node == cell.size - 1 else 0.35 * (-1) ** node
