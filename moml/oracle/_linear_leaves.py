"""Linear layers of an encoder, read off the autograd graph."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor
from torch.autograd.graph import Node


@dataclass(frozen=True)
class Leaf:
    """A linear layer used once, as the graph shows it.

    Attributes:
        node: The operation; its output's gradients are :math:`D_k`.
        inputs: What it was applied to, ``(N, in)``.
        weight: Position of its weight among the parameters.
        bias: Position of its bias; ``None`` without one.
    """

    node: Node
    inputs: Tensor
    weight: int
    bias: int | None


def linear_leaves(
    outputs: Sequence[Tensor], parameters: Sequence[Tensor], *, elsewhere: Iterable[Tensor] = ()
) -> list[Leaf]:
    """Layers whose weight and bias are seen by one linear operation each, and by nothing else.

    Args:
        outputs: Tensors with the encoder's graph.
        parameters: Those it reaches.
        elsewhere: Parameters that are also seen beside it.
    """
    users: dict[Node, list[tuple[Node, int]]] = {}
    seen: set[Node] = set()
    stack = [output.grad_fn for output in outputs if output.grad_fn is not None]
    while stack:
        node = stack.pop()
        if node in seen:
            continue
        seen.add(node)
        for position, (child, _) in enumerate(node.next_functions):
            if child is not None:
                users.setdefault(child, []).append((node, position))
                stack.append(child)
    beside = set(elsewhere)
    where = {p: i for i, p in enumerate(parameters) if p not in beside}
    owner = {
        where[node.variable]: node  # type: ignore[attr-defined]
        for node in users
        if node.name() == "torch::autograd::AccumulateGrad" and node.variable in where  # type: ignore[attr-defined]
    }
    found = []
    for position, node in owner.items():
        leaf = _leaf(position, node, users, owner)
        if leaf is not None:
            found.append(leaf)
    return sorted(found, key=lambda leaf: leaf.weight)


def _leaf(
    weight: int,
    node: Node,
    users: dict[Node, list[tuple[Node, int]]],
    owner: dict[int, Node],
) -> Leaf | None:
    """The linear layer a parameter is the weight of."""
    transposed = _only(users, node)
    product = None if transposed is None else _only(users, transposed[0])
    if transposed is None or product is None or transposed[0].name() != "TBackward0":
        return None
    operation: Any = product[0]
    if operation.name() == "MmBackward0" and product[1] == 1:
        return Leaf(operation, operation._saved_self.detach(), weight, None)
    plain = operation.name() == "AddmmBackward0" and product[1] == 2
    if not plain or operation._saved_alpha != 1 or operation._saved_beta != 1:
        return None
    added = operation.next_functions[0][0]
    bias = next((i for i, other in owner.items() if other is added), None)
    if bias is None or _only(users, added) is None:
        return None
    return Leaf(operation, operation._saved_mat1.detach(), weight, bias)


def _only(users: dict[Node, list[tuple[Node, int]]], node: Node) -> tuple[Node, int] | None:
    found = users.get(node, ())
    return found[0] if len(found) == 1 else None


def worth_it(leaves: Sequence[Leaf], parameters: Sequence[Tensor], tasks: int) -> bool:
    """Whether multiplications are saved, counted over all layers found."""
    ghost = rows = 0
    for leaf in leaves:
        n, width_in = leaf.inputs.shape
        width_out = parameters[leaf.weight].numel() // width_in
        ghost += n * n * (tasks * width_out + width_in) + tasks * tasks * n * width_out
        rows += tasks * (n + tasks) * width_in * width_out
    return bool(leaves) and ghost < rows
