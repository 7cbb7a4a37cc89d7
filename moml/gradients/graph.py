"""Which losses reach which parameters, read off the autograd graph."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.graph import Node

Edge = tuple[Node, int]
"""An operation and the number of one of its outputs."""

# The class of the nodes that stand for leaf tensors.
_LEAF: type = torch.ones((), requires_grad=True).expand(1).grad_fn.next_functions[0][0].__class__  # type: ignore[union-attr]
_DATA = "data"
# Operations that hand on every gradient as it is, output by output: of `DistributedDataParallel`
# that looks for unused parameters, and of `DataParallel`, whose outputs are one copy of all
# parameters after another.
_JOINTS = ("_DDPSinkBackward", "BroadcastBackward")
_COMPILED = "CompiledFunction"


@dataclass(frozen=True)
class Reach:
    """Leaves and stops that a set of roots reaches.

    Attributes:
        leaves: For each leaf tensor, a bit mask: bit ``i`` is set if root ``i`` reaches it.
        stops: The same for the tensors the walk stopped at.
        nodes: Names of the operations that were walked through.
        joined: Some roots depend on different outputs of one compiled function, which does not tell
            what each of them depends on.
    """

    leaves: dict[Tensor, int]
    stops: list[int]
    nodes: list[str]
    joined: bool = False


@dataclass(frozen=True)
class Walk:
    """The graph of one step.

    Attributes:
        nodes: Operations and leaves, in an order that follows from the graph alone.
        signature: The graph's structure and its parameters: two steps with equal signatures have
            the same operations between the same parameters, and ``nodes`` in the same places.
    """

    nodes: list[Node]
    signature: list[Any]


def walk(roots: Sequence[Tensor], cut: Sequence[Tensor], known: Collection[int] = ()) -> Walk:
    """Walk the whole graph once, without asking who reaches what.

    This is what a step pays to know that the network has not changed: half a microsecond for an
    operation.

    Args:
        roots: Tensors with the graph.
        cut: Leaves that stand for a place in the network and are fresh in every step.
        known: ``id`` of plain tensors that count as parameters; other plain tensors are data.
    """
    places = {id(leaf): -3 - i for i, leaf in enumerate(cut)}
    nodes: list[Node] = []
    index: dict[Node, int] = {}
    signature: list[Any] = []
    for root in roots:
        node = root.grad_fn
        if node is None:
            signature.append(_identity(root, places, known) if root.requires_grad else -1)
            continue
        if node not in index:
            index[node] = len(nodes)
            nodes.append(node)
        signature += (index[node], root.output_nr)
    for node in nodes:  # grows while it is read
        kind = node.__class__
        signature.append(kind)
        if kind is _LEAF:
            signature.append(_identity(node.variable, places, known))  # type: ignore[attr-defined]
            continue
        for child, slot in node.next_functions:
            if child is None:
                signature.append(-1)
                continue
            place = index.get(child)
            if place is None:
                place = index[child] = len(nodes)
                nodes.append(child)
            signature += (place, slot)
    return Walk(nodes, signature)


def _identity(leaf: Tensor, places: dict[int, int], known: Collection[int]) -> int | str:
    """What makes a leaf the same one in the next step."""
    name = id(leaf)
    if name in places:
        return places[name]
    return _DATA if leaf.__class__ is Tensor and name not in known else name


def is_leaf(node: Node) -> bool:
    """Return whether a node stands for a leaf tensor."""
    return node.__class__ is _LEAF


def reach(roots: Sequence[Tensor], stops: Sequence[Tensor] = ()) -> Reach:
    """Walk the graph once from all roots together, not beyond ``stops``.

    A stop is one output of an operation; other outputs of the operation are walked through.
    """
    end: dict[Edge, int] = {(s.grad_fn, s.output_nr): 0 for s in stops if s.grad_fn is not None}
    leaves: dict[Tensor, int] = {}
    masks: dict[Node, int] = {}
    slots: dict[Node, dict[int, int]] = {}  # masks by output, where outputs are worlds apart

    def arrive(node: Node, slot: int, mask: int) -> None:
        if (node, slot) in end:
            end[node, slot] |= mask
            return
        masks[node] = masks.get(node, 0) | mask
        if _apart(node):
            own = slots.setdefault(node, {})
            own[slot] = own.get(slot, 0) | mask

    for bit, root in enumerate(roots):
        if root.grad_fn is not None:
            arrive(root.grad_fn, root.output_nr, 1 << bit)
        elif root.requires_grad:
            leaves[root] = leaves.get(root, 0) | 1 << bit
    names, joined = [], False
    for node in _topological(list(masks), end):
        mask = masks.get(node, 0)
        if not mask:
            continue
        if is_leaf(node):
            variable: Tensor = node.variable  # type: ignore[attr-defined]
            leaves[variable] = leaves.get(variable, 0) | mask
            continue
        names.append(node.name())
        apart = slots.get(node)
        joint = apart is not None and names[-1] in _JOINTS
        joined |= apart is not None and not joint and len(set(apart.values())) > 1
        count = len(node.next_functions)
        for place, (child, slot) in enumerate(node.next_functions):
            if child is None:
                continue
            through = mask
            if joint and apart is not None:
                through = _any(m for number, m in apart.items() if number % count == place)
            if through:
                arrive(child, slot, through)
    found = [0 if s.grad_fn is None else end[s.grad_fn, s.output_nr] for s in stops]
    return Reach(leaves, found, names, joined)


def _apart(node: Node) -> bool:
    """Return whether it matters which of a node's outputs a root depends on."""
    if not isinstance(node, torch.autograd.function.BackwardCFunction):
        return False
    name = node.name()
    if name.startswith(_COMPILED):
        return True
    outputs, inputs = len(node._input_metadata), len(node.next_functions)
    return name in _JOINTS and inputs > 0 and outputs % inputs == 0


def _any(masks: Iterable[int]) -> int:
    found = 0
    for mask in masks:
        found |= mask
    return found


def nested(outputs: Sequence[Tensor]) -> bool:
    """Return whether one of several tensors depends on another."""
    if len(outputs) < 2:
        return False
    return any(any(reach([f], stops=[g for g in outputs if g is not f]).stops) for f in outputs)


def _topological(roots: Sequence[Node], end: Collection[Edge]) -> list[Node]:
    """All nodes below the roots, each before its children; edges in ``end`` are not followed."""
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
            stack.extend(
                (child, False)
                for child, slot in node.next_functions
                if child is not None and (child, slot) not in end
            )
    return order[::-1]
