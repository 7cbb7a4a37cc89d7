"""A cell as data: which nodes there are, which edges may be, and what they may carry."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from moml.nas.ops import get_op

if TYPE_CHECKING:
    import networkx

Edge = tuple[int, int]
Choice = tuple[tuple[Edge, str], ...]
"""What edges carry: ``((source, target), name of the operation)``, in the order of the cell."""


@dataclass(frozen=True)
class CellSpec:
    """The edges of a directed acyclic graph, each of which carries one operation or none.

    Nodes ``0, …, inputs - 1`` are the cell's inputs; every further node is the sum of what its
    edges bring. An edge is alive if what it carries is not zero, its source depends on an input and
    the output depends on its target.

    Args:
        inputs: Number of inputs.
        nodes: Number of computed nodes.
        edges: ``(source, target)`` with ``source < target``, grouped by target in rising order.
        ops: Names of what an edge may carry.
        keep_per_node: Edges a genotype keeps at each computed node; ``None`` if it names an
            operation for every edge (and may name one that is zero).
        output: The last node, or all computed nodes side by side.
        reduction: Whether edges that leave an input halve the resolution.
        normalised: Whether batch normalisation (no scale, no shift) and ReLU stand behind the sum
            of a computed node; edges are linear then.
        builds_dead: Whether edges are built that are not alive, as NAS-Bench-201 does: they have
            parameters, and a convolution of what no input reaches brings the shift of its
            normalisation. Cells that do not connect input and output are networks, too.

    Raises:
        ValueError: If the graph has no path from an input to the output, an edge runs backwards or
            twice, or an operation is unknown.
    """

    inputs: int
    nodes: int
    edges: tuple[Edge, ...]
    ops: tuple[str, ...]
    keep_per_node: int | None = None
    output: Literal["concat", "last"] = "last"
    reduction: bool = False
    normalised: bool = False
    builds_dead: bool = False

    def __post_init__(self) -> None:
        if self.inputs < 1 or self.nodes < 1:
            raise ValueError(
                f"`inputs` and `nodes` should be at least 1, found {self.inputs} and {self.nodes}."
            )
        if self.output not in ("concat", "last"):
            raise ValueError(f"`output` should be 'concat' or 'last', found '{self.output}'.")
        if self.builds_dead and (self.inputs > 1 or self.keep_per_node or self.reduction):
            raise ValueError(
                "`builds_dead` should be False unless a cell has one input, an operation on every "
                f"edge and stride 1, found {self.inputs} inputs, `keep_per_node` "
                f"{self.keep_per_node} and `reduction` {self.reduction}."
            )
        for op in self.ops:
            get_op(op)
        if not self.ops or len(set(self.ops)) != len(self.ops):
            raise ValueError(f"`ops` should be different names, at least one, found {self.ops}.")
        for source, target in self.edges:
            if not (0 <= source < target < self.size and target >= self.inputs):
                raise ValueError(
                    f"`edges` should run forward, to one of the nodes {self.inputs} to "
                    f"{self.size - 1}, found {(source, target)}. Inputs have no edges into them."
                )
        ordered = sorted(set(self.edges), key=lambda edge: (edge[1], edge[0]))
        if list(self.edges) != ordered:
            raise ValueError(
                "`edges` should be given once each, sorted by target and then by source, "
                f"found {self.edges}."
            )
        for target in range(self.inputs, self.size):
            number = len(self.into(target))
            if self.keep_per_node is not None and not 1 <= self.keep_per_node <= number:
                raise ValueError(
                    f"`keep_per_node` should be between 1 and the {number} edges into node "
                    f"{target}, found {self.keep_per_node}."
                )
        some = next((op for op in self.ops if not get_op(op).is_zero), None)
        if some is None or not self.connected(tuple((edge, some) for edge in self.edges)):
            raise ValueError(
                "`edges` should lead from an input to the output, found no such path in "
                f"{self.edges} with operations {self.ops}."
            )

    @classmethod
    def dense(
        cls,
        inputs: int,
        nodes: int,
        ops: Iterable[str],
        *,
        keep_per_node: int | None = None,
        output: Literal["concat", "last"] = "last",
        reduction: bool = False,
        normalised: bool = False,
        builds_dead: bool = False,
    ) -> CellSpec:
        """The cell in which every node may see all nodes before it."""
        edges = tuple((i, j) for j in range(inputs, inputs + nodes) for i in range(j))
        return cls(
            inputs, nodes, edges, tuple(ops), keep_per_node, output, reduction, normalised,
            builds_dead,
        )  # fmt: skip

    @property
    def size(self) -> int:
        """Number of nodes, inputs included."""
        return self.inputs + self.nodes

    @property
    def outputs(self) -> tuple[int, ...]:
        """Nodes the output is made of."""
        return tuple(range(self.inputs, self.size)) if self.output == "concat" else (self.size - 1,)

    def into(self, target: int) -> tuple[Edge, ...]:
        """Edges that end at this node."""
        return tuple(edge for edge in self.edges if edge[1] == target)

    def stride(self, edge: Edge) -> int:
        """2 for edges that leave an input of a reduction cell, otherwise 1."""
        return 2 if self.reduction and edge[0] < self.inputs else 1

    def check(self, choice: Choice) -> None:
        """Whether these edges may carry this.

        Raises:
            ValueError: If not.
        """
        found = tuple(edge for edge, _ in choice)
        if self.keep_per_node is None and found != self.edges:
            raise ValueError(
                f"A genotype's edges should be {self.edges}, in this order, found {found}."
            )
        if not set(found) <= set(self.edges) or len(set(found)) != len(found):
            raise ValueError(f"A genotype's edges should be among {self.edges}, found {found}.")
        for target in range(self.inputs, self.size):
            kept = sum(edge[1] == target for edge in found)
            if self.keep_per_node is not None and kept != self.keep_per_node:
                raise ValueError(
                    f"A genotype should keep {self.keep_per_node} edges into node {target}, "
                    f"found {kept}."
                )
        for edge, op in choice:
            if op not in self.ops:
                raise ValueError(f"Edge {edge} should carry one of {self.ops}, found '{op}'.")

    def graph(self, choice: Choice) -> networkx.DiGraph:
        """Nodes and edges that are not zero, the operation's name on each edge as ``op``."""
        import networkx

        graph = networkx.DiGraph()
        graph.add_nodes_from(range(self.size))
        graph.add_edges_from(
            (source, target, {"op": op})
            for (source, target), op in choice
            if not get_op(op).is_zero
        )
        return graph

    def live(self, choice: Choice) -> Choice:
        """The edges on a path from an input to the output, in the order given."""
        there = [(edge, op) for edge, op in choice if not get_op(op).is_zero]
        reached = set(range(self.inputs))
        for target in range(self.inputs, self.size):
            if any(edge[1] == target and edge[0] in reached for edge, _ in there):
                reached.add(target)
        used = set(self.outputs)
        for source in range(self.size - 1, -1, -1):
            if any(edge[0] == source and edge[1] in used for edge, _ in there):
                used.add(source)
        return tuple((e, op) for e, op in there if e[0] in reached and e[1] in used)

    def built(self, choice: Choice) -> Choice:
        """The edges that a network of this cell consists of, in the order given."""
        if not self.builds_dead:
            return self.live(choice)
        return tuple((edge, op) for edge, op in choice if not get_op(op).is_zero)

    def buildable(self, choice: Choice) -> bool:
        """Whether there is a network of this cell."""
        return self.builds_dead or self.connected(choice)

    def connected(self, choice: Choice) -> bool:
        """Whether every node of the output depends on an input."""
        ends = {edge[1] for edge, _ in self.live(choice)}
        return ends.issuperset(self.outputs)

    def pruned(self, choice: Choice) -> Choice:
        """Dead edges carry ``none`` where every edge has an operation and they are not built.

        Otherwise the choice as it is.
        """
        if self.keep_per_node is not None or self.builds_dead:
            return choice
        zero = next((op for op in self.ops if get_op(op).is_zero), None)
        alive = dict(self.live(choice))
        if zero is None:
            return choice
        return tuple((edge, alive.get(edge, zero)) for edge in self.edges)
