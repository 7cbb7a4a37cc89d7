"""All choices of a cell, one at random, and a neighbour of one."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

import torch

from moml.nas.cell import CellSpec, Choice
from moml.nas.ops import get_op


def all_choices(cell: CellSpec) -> Iterator[Choice]:
    """Everything that the edges can carry, where each of them carries one operation."""
    for ops in product(cell.ops, repeat=len(cell.edges)):
        yield tuple(zip(cell.edges, ops, strict=True))


def below(number: int, generator: torch.Generator) -> int:
    """A random whole number below this one."""
    return int(torch.randint(number, (), generator=generator))


def drawn(cell: CellSpec, generator: torch.Generator) -> Choice:
    """A choice, all equally likely; it need not be connected."""
    if cell.keep_per_node is None:
        return tuple((edge, cell.ops[below(len(cell.ops), generator)]) for edge in cell.edges)
    choice: list[tuple[tuple[int, int], str]] = []
    ops = [op for op in cell.ops if not get_op(op).is_zero]
    for target in range(cell.inputs, cell.size):
        into = cell.into(target)
        kept = torch.randperm(len(into), generator=generator)[: cell.keep_per_node].sort().values
        choice += [(into[i], ops[below(len(ops), generator)]) for i in kept.tolist()]
    return tuple(choice)


def mutated(cell: CellSpec, choice: Choice, generator: torch.Generator) -> Choice:
    """The choice with one edge drawn anew, perhaps as it was; it need not be connected."""
    changed = list(choice)
    place = below(len(changed), generator)
    edge, op = changed[place]
    if cell.keep_per_node is None:
        changed[place] = (edge, cell.ops[below(len(cell.ops), generator)])
        return tuple(changed)
    ops = [name for name in cell.ops if not get_op(name).is_zero]
    used = {e for e, _ in choice}
    free = [e for e in cell.into(edge[1]) if e not in used]
    if free and below(2, generator):
        changed[place] = (free[below(len(free), generator)], op)
    else:
        changed[place] = (edge, ops[below(len(ops), generator)])
    return tuple(sorted(changed, key=lambda entry: (entry[0][1], entry[0][0])))
