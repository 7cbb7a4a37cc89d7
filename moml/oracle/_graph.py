"""Which losses reach which parameters, read off the autograd graph."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor
from torch.autograd.graph import Node
from torch.nn import Parameter

_LEAF = "torch::autograd::AccumulateGrad"


@dataclass(frozen=True)
class Reach:
    """What a set of roots reaches.

    Attributes:
        leaves: For each leaf tensor, a bit mask: bit ``i`` is set if root ``i`` reaches it.
        stops: The same for the tensors the walk stopped at.
        nodes: Names of the graph's operations that were walked through.
    """

    leaves: dict[Tensor, int]
    stops: list[int]
    nodes: list[str]


def reach(roots: Sequence[Tensor], stops: Sequence[Tensor] = ()) -> Reach:
    """Walk the graph once from all roots together, not beyond ``stops``."""
    end: dict[Node, int] = {stop.grad_fn: 0 for stop in stops if stop.grad_fn is not None}
    leaves: dict[Tensor, int] = {}
    masks: dict[Node, int] = {}
    for bit, root in enumerate(roots):
        if root.grad_fn is not None:
            masks[root.grad_fn] = masks.get(root.grad_fn, 0) | 1 << bit
        elif root.requires_grad:
            leaves[root] = leaves.get(root, 0) | 1 << bit
    names = []
    for node in _topological(list(masks), end):
        if node in end:
            end[node] |= masks[node]
            continue
        if node.name() == _LEAF:
            variable: Tensor = node.variable  # type: ignore[attr-defined]
            leaves[variable] = leaves.get(variable, 0) | masks[node]
            continue
        names.append(node.name())
        for child, _ in node.next_functions:
            if child is not None:
                masks[child] = masks.get(child, 0) | masks[node]
    found = [0 if stop.grad_fn is None else end[stop.grad_fn] for stop in stops]
    return Reach(leaves, found, names)


def _topological(roots: Sequence[Node], end: dict[Node, int]) -> list[Node]:
    """All nodes below the roots, each before its children; children of ``end`` are left out."""
    order: list[Node] = []
    seen: set[Node] = set()
    for root in roots:
        stack: list[tuple[Node, bool]] = [(root, False)]
        while stack:
            node, done = stack.pop()
            if done:
                order.append(node)
                continue
            if node in seen:
                continue
            seen.add(node)
            stack.append((node, True))
            if node not in end:
                stack.extend((child, False) for child, _ in node.next_functions if child)
    return order[::-1]


def shared_leaves(losses: Sequence[Tensor]) -> list[Parameter]:
    """Trainable leaves that at least two losses reach; with one loss, all it reaches."""
    leaves = reach(losses).leaves
    if len(losses) == 1:
        return list(leaves)  # type: ignore[arg-type]
    return [leaf for leaf, mask in leaves.items() if mask & (mask - 1)]  # type: ignore[misc]
