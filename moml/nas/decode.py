"""From probabilities of operations to genotypes."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

from torch import Tensor

from moml.nas.cell import CellSpec, Choice
from moml.nas.genotype import Genotype
from moml.nas.ops import get_op
from moml.nas.search_space import SearchSpace

_SMALLEST = 1e-12


def decode(
    space: SearchSpace,
    strengths: Mapping[str, Tensor],
    *,
    largest: int | None = None,
    allow_free: bool = False,
    most_skips: int | None = None,
) -> Genotype:
    """A genotype of high probability whose exact number of parameters respects a limit.

    Starts from the strongest operation of every edge (where nodes keep some edges, from those whose
    strongest operation that is not zero is strongest, as in DARTS) and changes one edge at a time:
    while there are too many parameters, the change that loses least log-probability per parameter
    saved; then any that wins log-probability within the limit. Size is counted, never relaxed.

    Args:
        space: The search space.
        strengths: By kind of cell, ``(edges, ops)``.
        largest: Largest number of parameters.
        allow_free: Whether cells without a single weighted operation count. Relaxed searches
            collapse to them, since they are the easiest to train.
        most_skips: Most identities in a cell that keeps the resolution, as in Chen, Xie, Wu, Tian,
            `P-DARTS <https://arxiv.org/abs/1904.12760>`_, ICCV 2019, who allow two: the weakest of
            more than that are decided anew.

    Raises:
        ValueError: If no genotype within the limit was found.
    """
    tables, first = _logs(strengths), _logs(strengths)
    for name, cell in space.spec.cells:
        _without_weak_skips(cell, first[name], most_skips)
    current = _all_strongest(space, first)
    if not space.connected(current):  # the strongest are zero: start from what is not
        for name, cell in space.spec.cells:
            for row in first[name]:
                for o, op in enumerate(cell.ops):
                    row[o] -= 1e6 * get_op(op).is_zero
            _without_weak_skips(cell, first[name], most_skips)
        current = _all_strongest(space, first)
    worth = _Worth(space, tables, allow_free, most_skips)
    limit = math.inf if largest is None else largest
    current = _repaired(worth, current, limit)
    while True:
        here = worth.score(current)
        better = [g for g in worth.neighbours(current) if worth.fits(g, limit)]
        best = max(better, key=worth.score, default=None)
        if best is None or worth.score(best) <= here:
            return current
        current = best


def _logs(strengths: Mapping[str, Tensor]) -> dict[str, list[list[float]]]:
    return {name: s.clamp_min(_SMALLEST).log().tolist() for name, s in strengths.items()}


def decode_sizes(
    space: SearchSpace,
    strengths: Mapping[str, Tensor],
    number: int,
    *,
    allow_free: bool = False,
    most_skips: int | None = None,
) -> list[Genotype]:
    """Genotypes of high probability from small to large.

    Sizes from the smallest to the largest are divided into bands of equal ratio; the most probable
    genotype of each is given. Where the space cannot be listed, they are decoded with the upper end
    of each band as the limit, and equal ones are given once.

    Args:
        space: The search space.
        strengths: By kind of cell, ``(edges, ops)``.
        number: How many bands.
        allow_free: As for `decode`.
        most_skips: As for `decode`.
    """
    if space.listable:
        worth = _Worth(space, _logs(strengths), allow_free, most_skips)
        return _best_of_bands(space, worth, number)
    low, high = space.fixed().parameters, largest_size(space, strengths)
    found: dict[str, Genotype] = {}
    for i in range(number):
        limit = math.ceil(low * (high / low) ** ((i + 1) / number))
        try:
            genotype = decode(
                space, strengths, largest=limit, allow_free=allow_free, most_skips=most_skips
            )
        except ValueError:  # no weighted cell is so small
            continue
        found.setdefault(space.key(genotype), genotype)
    return list(found.values())


def _best_of_bands(space: SearchSpace, worth: _Worth, number: int) -> list[Genotype]:
    pool = [g for g in space.enumerate() if worth.valid(g)]
    if not pool:
        raise ValueError(
            f"`most_skips` should leave some cells of the space, found none with {worth.skips}."
        )
    sizes = [math.log(space.num_parameters(g)) for g in pool]
    low, high = min(sizes), max(sizes)
    best: dict[int, Genotype] = {}
    for genotype, size in zip(pool, sizes, strict=True):
        band = min(int(number * (size - low) / max(high - low, 1e-12)), number - 1)
        if band not in best or worth.score(genotype) > worth.score(best[band]):
            best[band] = genotype
    return [best[band] for band in sorted(best)]


def is_free(space: SearchSpace, genotype: Genotype) -> bool:
    """Whether the cells have no weights at all."""
    return space.num_parameters(genotype) == space.fixed().parameters


def num_skips(space: SearchSpace, genotype: Genotype) -> int:
    """Most identities that are alive in a cell that keeps the resolution."""
    cells = [(space.spec.by_name[name], choice) for name, choice in genotype.cells]
    return max(
        (
            sum(get_op(op).is_identity for _, op in cell.built(choice))
            for cell, choice in cells
            if not cell.reduction
        ),
        default=0,
    )


def largest_size(space: SearchSpace, strengths: Mapping[str, Tensor]) -> int:
    """Parameters of the genotype with the largest operation on every edge."""
    sizes = {
        name: strengths[name].new_tensor(
            [
                [float(get_op(op).parameters(8, stride=cell.stride(edge)) + 1) for op in cell.ops]
                for edge in cell.edges
            ]
        )
        for name, cell in space.spec.cells
    }
    tables = {name: table.tolist() for name, table in sizes.items()}
    cells = {name: _strongest(cell, tables[name]) for name, cell in space.spec.cells}
    return space.num_parameters(space.genotype(cells))


class _Worth:
    """Scores, sizes and neighbours of genotypes."""

    def __init__(
        self,
        space: SearchSpace,
        tables: Mapping[str, list[list[float]]],
        allow_free: bool,
        skips: int | None,
    ) -> None:
        self.space, self.tables, self.allow_free, self.skips = space, tables, allow_free, skips

    def score(self, genotype: Genotype) -> float:
        """Sum of log-strengths."""
        total = 0.0
        for name, choice in genotype.cells:
            cell = self.space.spec.by_name[name]
            for edge, op in choice:
                total += self.tables[name][cell.edges.index(edge)][cell.ops.index(op)]
        return total

    def valid(self, genotype: Genotype) -> bool:
        """Connected, without too many identities, and with weights if that is asked for."""
        return (
            self.space.connected(genotype)
            and (self.allow_free or not is_free(self.space, genotype))
            and (self.skips is None or num_skips(self.space, genotype) <= self.skips)
        )

    def fits(self, genotype: Genotype, limit: float) -> bool:
        """Valid and within the limit."""
        return self.valid(genotype) and self.space.num_parameters(genotype) <= limit

    def neighbours(self, genotype: Genotype) -> Iterator[Genotype]:
        """All that differ in one edge: its operation or, where edges are chosen, its source."""
        cells = dict(genotype.cells)
        for name, choice in genotype.cells:
            cell = self.space.spec.by_name[name]
            for i, (edge, op) in enumerate(choice):
                for other in _others(cell, choice, edge, op):
                    changed = [*choice[:i], other, *choice[i + 1 :]]
                    changed.sort(key=lambda entry: (entry[0][1], entry[0][0]))
                    yield self.space.genotype({**cells, name: tuple(changed)})


def _repaired(worth: _Worth, start: Genotype, limit: float) -> Genotype:
    """Changes until the genotype fits, the cheapest per parameter first."""
    current, seen = start, {start}
    while not worth.fits(current, limit):
        here, size = worth.score(current), worth.space.num_parameters(current)
        valid = worth.valid(current)
        steps = []
        for other in worth.neighbours(current):
            if other in seen or not worth.space.connected(other):
                continue
            saved = size - worth.space.num_parameters(other)
            lost = here - worth.score(other)
            if valid and size > limit and saved > 0 and worth.valid(other):
                steps.append((lost / saved, other))
            elif not valid and worth.valid(other):
                steps.append((lost, other))
        if not steps:
            raise ValueError(
                f"A genotype with at most {limit:.0f} parameters should be near, found none."
            )
        current = min(steps, key=lambda step: step[0])[1]
        seen.add(current)
    return current


def _all_strongest(space: SearchSpace, tables: Mapping[str, list[list[float]]]) -> Genotype:
    return space.genotype({name: _strongest(cell, tables[name]) for name, cell in space.spec.cells})


def _without_weak_skips(cell: CellSpec, table: list[list[float]], most: int | None) -> None:
    """Take identities out of the running, the weakest first, until few enough are strongest."""
    if most is None or cell.reduction:
        return
    while True:
        chosen = [(e, op) for e, op in _strongest(cell, table) if get_op(op).is_identity]
        if len(chosen) <= most:
            return
        places = [(cell.edges.index(edge), cell.ops.index(op)) for edge, op in chosen]
        e, o = min(places, key=lambda place: table[place[0]][place[1]])
        table[e][o] -= 1e6


def _strongest(cell: CellSpec, table: Sequence[Sequence[float]]) -> Choice:
    """The strongest operation of every edge, and of the edges the strongest few if not all."""
    best = {}
    for edge, row in zip(cell.edges, table, strict=True):
        allowed = [
            o for o, op in enumerate(cell.ops)
            if cell.keep_per_node is None or not get_op(op).is_zero
        ]  # fmt: skip
        o = max(allowed, key=row.__getitem__)
        best[edge] = (cell.ops[o], row[o])
    if cell.keep_per_node is None:
        return tuple((edge, op) for edge, (op, _) in best.items())
    kept = []
    for target in range(cell.inputs, cell.size):
        into = sorted(cell.into(target), key=lambda edge: -best[edge][1])[: cell.keep_per_node]
        kept += [(edge, best[edge][0]) for edge in sorted(into)]
    return tuple(kept)


def _others(
    cell: CellSpec, choice: Choice, edge: tuple[int, int], op: str
) -> Iterator[tuple[tuple[int, int], str]]:
    ops = [o for o in cell.ops if cell.keep_per_node is None or not get_op(o).is_zero]
    yield from ((edge, other) for other in ops if other != op)
    if cell.keep_per_node is not None:
        used = {e for e, _ in choice}
        yield from ((e, other) for e in cell.into(edge[1]) if e not in used for other in ops)
