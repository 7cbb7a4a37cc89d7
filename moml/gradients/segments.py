"""Where an encoder's graph is one tensor wide: it can be walked backwards piece by piece."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from torch import Tensor
from torch.autograd.graph import GradientEdge, Node

if TYPE_CHECKING:
    import networkx as nx

_LEAF = "torch::autograd::AccumulateGrad"
_TOP = "outputs"


@dataclass(frozen=True)
class Segment:
    """A piece of the graph between two places where it is one tensor wide.

    Attributes:
        parameters: Positions of the parameters met here first, walking backwards.
        below: The edge the next segment starts from; ``None`` for the last.
    """

    parameters: tuple[int, ...]
    below: GradientEdge | None


def segments(outputs: Sequence[Tensor], parameters: Sequence[Tensor]) -> list[Segment]:
    """Cut a graph at the operations all paths to the parameters below them go through.

    These are a path in the tree of dominators (Lengauer & Tarjan, TOPLAS 1979). A parameter used in
    several segments belongs to the first, from where its whole gradient is found.

    Args:
        outputs: Tensors with the graph.
        parameters: Those it reaches.
    """
    graph, slots = _graph(outputs)
    where = {p: i for i, p in enumerate(parameters)}
    owner = {
        node: where[node.variable]
        for node in graph
        if node != _TOP and node.name() == _LEAF and node.variable in where
    }
    found, left = [], set(owner)
    for cut, dominated in _spine(graph, set(owner), slots):
        if passed := left - dominated:
            found.append(Segment(_positions(passed, owner), cut))
            left -= passed
    return [*found, Segment(_positions(left, owner), None)]


def _graph(outputs: Sequence[Tensor]) -> tuple[nx.DiGraph, dict[Node, set[int]]]:
    """Operations and leaves below the outputs, and which outputs of each are used."""
    import networkx as nx

    graph = nx.DiGraph()
    slots: dict[Node, set[int]] = {}
    graph.add_node(_TOP)
    todo: list[Node] = []

    def link(parent: Node | str, child: Node, slot: int) -> None:
        if child not in graph:
            todo.append(child)
        graph.add_edge(parent, child)
        slots.setdefault(child, set()).add(slot)

    for output in outputs:
        if output.grad_fn is not None:
            link(_TOP, output.grad_fn, output.output_nr)
    while todo:
        node = todo.pop()
        for child, slot in node.next_functions:
            if child is not None:
                link(node, child, slot)
    return graph, slots


def _spine(
    graph: nx.DiGraph, leaves: set[Node], slots: dict[Node, set[int]]
) -> list[tuple[GradientEdge, set[Node]]]:
    """From the top down, always to the operation that dominates most; and what it dominates."""
    import networkx as nx

    tree = nx.DiGraph()
    for child, parent in nx.immediate_dominators(graph, _TOP).items():
        if child != _TOP:
            tree.add_edge(parent, child)
    count: dict[Any, tuple[int, int]] = {}  # parameters and operations dominated
    for node in nx.dfs_postorder_nodes(tree, _TOP):
        below = [count[child] for child in tree.successors(node)]
        count[node] = (node in leaves) + sum(p for p, _ in below), 1 + sum(n for _, n in below)
    spine: list[tuple[GradientEdge, set[Node]]] = []
    place: Any = _TOP
    while below := list(tree.successors(place)):
        place = max(below, key=lambda child: count[child])
        parameters, operations = count[place]
        if parameters == 0 or operations <= 2:  # a parameter, or its transpose
            break
        if len(slots[place]) == 1:
            (slot,) = slots[place]
            spine.append((GradientEdge(place, slot), nx.descendants(tree, place)))
    return spine


def _positions(nodes: set[Node], owner: dict[Node, int]) -> tuple[int, ...]:
    return tuple(sorted(owner[node] for node in nodes))
