r"""When two cells are the same function, and when they are the same picture.

**Same function.** Write every node's value as a sum of *terms*. A term is an input or the result of
one *operation with weights*, seen through a chain of linear operations without weights. Then

1. dead edges and zeros bring no term, unless the cell builds dead edges: then operations with
   weights on them are terms, too;
2. an identity brings the terms of its source: sums of sums are flattened, and multiplicities are
   kept (:math:`x + x` is not :math:`x`);
3. a linear operation without weights (average pooling) is distributed over its source's terms,
   :math:`A(\sum_k t_k) = \sum_k A t_k`;
4. an operation with weights is a term of its own *for every edge that carries it*: two equal
   convolutions of the same input are two terms, while one convolution that two edges lead away from
   is one term used twice;
5. a nonlinear operation without weights is one term for all edges that apply it to equal sums.

Two cells are equivalent if a bijection between their terms that keeps operations, their inputs and
the output exists. Then copying weights along it makes them equal functions, up to rounding; they
also have equally many parameters. The converse is not claimed.

Rule 4 is where strings of nested expressions, as NAS-Bench-201 compares them, go wrong: they forget
whether a sub-expression was computed once or twice, and so merge cells of different sizes (of the
4096 cells with four nodes and ``none, skip, conv1, conv3``, 137 of 870 flattened classes). With the
rules above 1010 classes are left, and of the 15625 with ``avg3`` as well 5043.

**Same picture.** `relabelled` numbers the inner nodes so that the list of edges is smallest: equal
results mean isomorphic graphs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import permutations, product

from moml.nas.cell import CellSpec, Choice
from moml.nas.ops import get_op

_Base = tuple[str, int]  # ("input", number) or ("term", number)
_Term = tuple[_Base, tuple[str, ...]]  # and the linear operations it is seen through
_Sum = tuple[_Term, ...]


@dataclass
class _Terms:
    """Results of operations that are terms of their own: what they are applied to."""

    labels: list[str] = field(default_factory=list)
    sources: list[_Sum] = field(default_factory=list)

    def add(self, label: str, source: _Sum, *, shared: bool) -> _Term:
        """The term of an operation; ``shared`` if an equal one would give the same."""
        if shared:
            for number, known in enumerate(zip(self.labels, self.sources, strict=True)):
                if known == (label, source):
                    return (("term", number), ())
        self.labels.append(label)
        self.sources.append(source)
        return (("term", len(self.labels) - 1), ())


def cell_key(cell: CellSpec, choice: Choice) -> str:
    """A text that two cells share exactly if the rules above make them equivalent."""
    terms = _Terms()
    outputs = _values(cell, choice, terms)
    orders = _orders(_colours(terms, outputs))
    return min(_written(terms, outputs, order) for order in orders)


def relabelled(cell: CellSpec, choice: Choice) -> Choice:
    """The cell without dead edges, its inner nodes numbered so that the result is smallest."""
    kept = cell.pruned(choice)
    last = (cell.size - 1,) if cell.output == "last" else ()
    inner = range(cell.inputs, cell.size - len(last))
    best = None
    for order in permutations(inner):
        place = [*range(cell.inputs), *order, *last]
        moved = {(place[i], place[j]): op for (i, j), op in kept if not get_op(op).is_zero}
        if not set(moved) <= set(cell.edges):
            continue
        zeros = {edge: op for edge, op in kept if get_op(op).is_zero}
        zero = next(iter(zeros.values()), None)
        if cell.keep_per_node is None:
            candidate = tuple((e, moved.get(e, zero or "")) for e in cell.edges)
        else:
            candidate = tuple(sorted(moved.items(), key=lambda entry: (entry[0][1], entry[0][0])))
        if best is None or candidate < best:
            best = candidate
    assert best is not None, "the cell's own numbering is one of them"
    return best


def _values(cell: CellSpec, choice: Choice, terms: _Terms) -> tuple[_Sum, ...]:
    sums: dict[int, _Sum] = {i: ((("input", i), ()),) for i in range(cell.inputs)}
    built = cell.built(choice)
    for node in range(cell.inputs, cell.size):
        brought: list[_Term] = []
        for edge, name in built:
            if edge[1] == node:
                brought += _brought(name, cell.stride(edge), sums[edge[0]], terms)
        sums[node] = tuple(sorted(brought))
    return tuple(sums[node] for node in cell.outputs)


def _brought(name: str, stride: int, source: _Sum, terms: _Terms) -> Sequence[_Term]:
    op = get_op(name)
    label = name if stride == 1 else f"{name}/{stride}"
    if op.is_identity and stride == 1:
        return source
    if op.is_linear:
        return [(base, (*chain, label)) for base, chain in source]
    weights = op.parameters(4, stride=stride) > 0
    return [terms.add(label, source, shared=not weights)]


def _colours(terms: _Terms, outputs: Sequence[_Sum]) -> list[int]:
    """A number for every term that depends on its place in the graph only.

    Terms are told apart by what they are applied to and by who uses them until nothing new comes.
    """
    uses = _uses(terms, outputs)
    colours = [0] * len(terms.labels)
    while True:
        signatures = [
            repr(
                (
                    colours[k],
                    terms.labels[k],
                    _recoloured(terms.sources[k], colours.__getitem__),
                    sorted((chain, colours[user] if user >= 0 else -1) for user, chain in uses[k]),
                )
            )
            for k in range(len(colours))
        ]
        ranks = {text: rank for rank, text in enumerate(sorted(set(signatures)))}
        if len(ranks) == len(set(colours)):
            return colours
        colours = [ranks[text] for text in signatures]


def _uses(terms: _Terms, outputs: Sequence[_Sum]) -> list[list[tuple[int, tuple[str, ...]]]]:
    """For every term who uses it, and through what; the output is user -1."""
    uses: list[list[tuple[int, tuple[str, ...]]]] = [[] for _ in terms.labels]
    for user, source in [*enumerate(terms.sources), *((-1, out) for out in outputs)]:
        for (kind, number), chain in source:
            if kind == "term":
                uses[number].append((user, chain))
    return uses


def _recoloured(source: _Sum, colour: Callable[[int], int]) -> list[tuple[_Base, tuple[str, ...]]]:
    return sorted(
        ((kind, colour(number) if kind == "term" else number), chain)
        for (kind, number), chain in source
    )


def _orders(colours: Sequence[int]) -> Iterator[dict[int, int]]:
    """All numberings that respect the order of colours, as old number -> new number."""
    groups = [[k for k, c in enumerate(colours) if c == colour] for colour in sorted(set(colours))]
    for arranged in product(*(permutations(group) for group in groups)):
        yield {old: new for new, old in enumerate(k for group in arranged for k in group)}


def _written(terms: _Terms, outputs: Sequence[_Sum], order: dict[int, int]) -> str:
    rows = [""] * len(order)
    for old, new in order.items():
        inputs = _recoloured(terms.sources[old], order.__getitem__)
        rows[new] = f"{new}={terms.labels[old]}({_sum(inputs)})"
    ends = sorted(_sum(_recoloured(out, order.__getitem__)) for out in outputs)
    return "; ".join([*rows, f"out={' | '.join(ends)}"])


def _sum(source: Sequence[_Term]) -> str:
    parts = []
    for (kind, number), chain in source:
        base = f"x{number}" if kind == "input" else str(number)
        parts.append("@".join([base, *chain]))
    return "+".join(parts)
