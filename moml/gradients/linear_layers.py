"""Linear layers of an encoder, read off the autograd graph."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor
from torch.autograd.graph import Node

from moml.gradients.graph import is_leaf

User = tuple[Node, int]
"""An operation that uses a result, and as which of its arguments."""


@dataclass(frozen=True)
class LinearLayer:
    """A linear layer used once: the same place in the graph of every step with one signature.

    Attributes:
        place: Position of its operation among the nodes of the walk.
        weight: Position of its weight among the parameters.
        bias: Position of its bias; ``None`` without one.
        width_in: Width of its input.
        width_out: Width of its output.
    """

    place: int
    weight: int
    bias: int | None
    width_in: int
    width_out: int

    def samples(self, nodes: Sequence[Node]) -> int:
        """Rows of its input in this step."""
        metadata: Any = nodes[self.place]._input_metadata
        return int(metadata[0].shape[0])

    def leaf(self, nodes: Sequence[Node]) -> Leaf:
        """The layer in this step."""
        node: Any = nodes[self.place]
        product = "_saved_self" if self.bias is None else "_saved_mat1"
        return Leaf(node, getattr(node, product).detach(), self.weight, self.bias)


@dataclass(frozen=True)
class Leaf:
    """A linear layer in one step.

    Attributes:
        node: The operation; its output's gradients are :math:`D_k`.
        inputs: Its input, ``(N, in)``.
        weight: Position of its weight among the parameters.
        bias: Position of its bias; ``None`` without one.
    """

    node: Node
    inputs: Tensor
    weight: int
    bias: int | None


def linear_layers(
    outputs: Sequence[Tensor],
    nodes: Sequence[Node],
    parameters: Sequence[Tensor],
    *,
    elsewhere: Iterable[Tensor] = (),
) -> tuple[LinearLayer, ...]:
    """Layers whose weight and bias are seen by one linear operation each, and by nothing else.

    Complex weights are left out: their inner products are not those of a real layer.

    Args:
        outputs: Tensors with the encoder's graph.
        nodes: All nodes of the step's graph.
        parameters: Those that the outputs reach.
        elsewhere: Parameters that are also seen beside them.
    """
    users = _users(outputs)
    beside = set(elsewhere)
    where = {p: i for i, p in enumerate(parameters) if p not in beside and not p.dtype.is_complex}
    owner = {
        where[node.variable]: node  # type: ignore[attr-defined]
        for node in users
        if is_leaf(node) and node.variable in where  # type: ignore[attr-defined]
    }
    place = {node: i for i, node in enumerate(nodes)}
    found = [
        layer
        for weight, node in owner.items()
        if (layer := _layer(weight, node, users, owner, place, parameters[weight])) is not None
    ]
    return tuple(sorted(found, key=lambda layer: layer.weight))


def _layer(
    weight: int,
    node: Node,
    users: Mapping[Node, list[User]],
    owner: Mapping[int, Node],
    place: Mapping[Node, int],
    parameter: Tensor,
) -> LinearLayer | None:
    """The layer that a parameter is the weight of."""
    transposed = _only(users, node)
    product = None if transposed is None else _only(users, transposed[0])
    if transposed is None or product is None or transposed[0].name() != "TBackward0":
        return None
    operation: Any = product[0]
    width_out, width_in = parameter.shape
    if operation.name() == "MmBackward0" and product[1] == 1:
        return LinearLayer(place[operation], weight, None, width_in, width_out)
    plain = operation.name() == "AddmmBackward0" and product[1] == 2
    if not plain or operation._saved_alpha != 1 or operation._saved_beta != 1:
        return None
    added = operation.next_functions[0][0]
    bias = next((i for i, other in owner.items() if other is added), None)
    if bias is None or _only(users, added) is None:
        return None
    return LinearLayer(place[operation], weight, bias, width_in, width_out)


def _users(outputs: Sequence[Tensor]) -> dict[Node, list[User]]:
    """Who uses each node below the outputs."""
    users: dict[Node, list[User]] = {}
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
    return users


def _only(users: Mapping[Node, list[User]], node: Node) -> User | None:
    found = users.get(node, ())
    return found[0] if len(found) == 1 else None


def worth_it(layers: Sequence[LinearLayer], samples: Sequence[int], tasks: int) -> bool:
    """Whether multiplications are saved, counted over all layers found."""
    ghost = rows = 0
    for layer, n in zip(layers, samples, strict=True):
        ghost += n * n * (tasks * layer.width_out + layer.width_in)
        ghost += tasks * tasks * n * layer.width_out
        rows += tasks * (n + tasks) * layer.width_in * layer.width_out
    return bool(layers) and ghost < rows
