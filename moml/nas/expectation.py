r"""What a cell costs on average if its edges draw their operations independently.

An edge :math:`(i, j)` is alive if it carries something, :math:`i` can be reached from an input, and
the output can be reached from :math:`j`. The first depends on edges among :math:`0, \dots, i`, the
last on edges among :math:`j, \dots`, and :math:`i < j`: the three are independent, so

.. math:: E = \sum_{(i, j)} P(i \text{ reached}) \, P(j \text{ used}) \sum_o p_{ij}(o)\, c_{ij}(o) .

The two probabilities follow from the distribution of the whole set of nodes that are reached: those
of single nodes alone would not do, since paths share edges.

Where a cell keeps k of the n edges into a node, every choice of k counts as equally likely, and
what a kept edge carries is drawn among the operations that are not zero: an edge is there with
probability k / n, and alive if nodes lie side by side in the output.
"""

from __future__ import annotations

import torch
from torch import Tensor

from moml.nas.cell import CellSpec
from moml.nas.ops import get_op


def expected_cost(cell: CellSpec, probabilities: Tensor, costs: Tensor) -> Tensor:
    """Expected cost of the edges that are built, a differentiable scalar.

    Takes time in the order of ``2^nodes``.

    Args:
        cell: The cell, with one operation on every edge.
        probabilities: Of every operation on every edge, ``(edges, ops)``.
        costs: Of every operation on every edge, ``(edges, ops)``.

    Raises:
        ValueError: If the shape is wrong, or the cell keeps some edges and nodes may be dead.
    """
    shape = (len(cell.edges), len(cell.ops))
    if tuple(probabilities.shape) != shape:
        raise ValueError(
            f"`probabilities` should have shape {shape}, found {tuple(probabilities.shape)}."
        )
    there = torch.tensor(
        [not get_op(op).is_zero for op in cell.ops],
        dtype=probabilities.dtype,
        device=probabilities.device,
    )
    if cell.builds_dead:
        return (probabilities * there * costs.to(probabilities)).sum()
    if cell.keep_per_node is not None:
        return _expected_of_kept(cell, probabilities * there, costs.to(probabilities))
    present = dict(zip(cell.edges, probabilities @ there, strict=True))  # P(edge carries something)
    reached = _reached(
        range(cell.inputs, cell.size), frozenset(range(cell.inputs)), present, forward=True
    )
    used = _reached(range(cell.size - 1, -1, -1), frozenset(cell.outputs), present, forward=False)
    paid = (probabilities * there * costs.to(probabilities)).sum(1)  # (edges,)
    return torch.stack(
        [reached[i] * used[j] * paid[e] for e, (i, j) in enumerate(cell.edges)]
    ).sum()


def _expected_of_kept(cell: CellSpec, weights: Tensor, costs: Tensor) -> Tensor:
    """Every set of edges to keep is as likely, and kept edges carry something: all are alive."""
    assert cell.keep_per_node is not None
    if cell.output != "concat":
        raise ValueError(
            "`cell` should put its nodes side by side where it keeps some edges only, found that "
            "its output is the last node: then nodes may be dead."
        )
    kept = [cell.keep_per_node / len(cell.into(target)) for _, target in cell.edges]
    given = weights / weights.sum(1, keepdim=True)  # probabilities given that it is not zero
    return ((given * costs).sum(1) * weights.new_tensor(kept)).sum()


def _reached(
    order: range, start: frozenset[int], present: dict[tuple[int, int], Tensor], *, forward: bool
) -> dict[int, Tensor]:
    """Probability of every node to be reached from the start, against the edges if not forward."""
    one = next(iter(present.values())).new_ones(())
    sets = {start: one}
    for node in order:
        if node in start:
            continue
        following: dict[frozenset[int], Tensor] = {}
        for known, probability in sets.items():
            missed = one
            for (i, j), p in present.items():
                if forward and j == node and i in known:
                    missed = missed * (1 - p)
                if not forward and i == node and j in known:
                    missed = missed * (1 - p)
            for grown, q in ((known, missed), (known | {node}, 1 - missed)):
                following[grown] = following.get(grown, 0 * one) + probability * q
        sets = following
    nodes = {i for edge in present for i in edge}
    zero = 0 * one
    return {n: sum((p for s, p in sets.items() if n in s), zero) for n in nodes}
