"""Cutting any traceable encoder into stages.

The data-flow graph is traced by `torch.fx` and read with networkx. An encoder can be cut where one
tensor carries everything: at the nodes that all paths from the input to the output pass, the
dominators of the output. What follows from the raw input alone, without parameters or buffers (a
mask, a degree), is ambient: computed once for all stages, which may read it wherever they are; else
no graph network could be cut.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from itertools import groupby

import torch
from torch import fx, nn

from moml._support import checks

_INPUT = "input"


class _Tracer(fx.Tracer):
    """Layers that own their parameters are units, whoever wrote them."""

    def is_leaf_module(self, m: nn.Module, qualified_name: str) -> bool:
        own = next(m.parameters(recurse=False), None) is not None
        below = any(next(child.parameters(), None) is not None for child in m.children())
        return super().is_leaf_module(m, qualified_name) or (own and not below)


def split(encoder: nn.Module, at_most: int) -> tuple[nn.Module, list[nn.Module]]:
    """What is ambient, and consecutive pieces with about the same number of weight layers each.

    The first module makes ``ambient`` of the encoder's inputs; the pieces, ``(x, ambient) -> x``,
    share the encoder's submodules. One after the other they compute what the encoder does, to the
    bit. A piece ends just before a layer with a weight matrix, hence after activations and pooling.
    There are fewer pieces than asked for where there are fewer places to cut.

    Args:
        encoder: One input, one output.
        at_most: Number of pieces.

    Raises:
        ValueError: If it cannot be traced, or does not take one input to one tensor.
    """
    graph = _trace(encoder)
    ambient, places = _places(encoder, graph)
    read = [n for n in graph.nodes if n in ambient and any(u not in ambient for u in n.users)]
    cuts = [places[i][0] for i in balanced([count for _, count in places], at_most)]
    ends = [*cuts, _returned(graph)]
    starts = [None, *cuts]
    pieces = [_piece(encoder, graph, a, b, read) for a, b in zip(starts, ends, strict=True)]
    return _ambient(encoder, graph, read), pieces


def balanced(counts: Sequence[int], at_most: int) -> list[int]:
    """Which boundaries to keep, given the number of layers before each; the last is the total."""
    *inner, total = counts
    pieces = min(at_most, len(inner) + 1)
    kept: list[int] = []
    for k in range(1, pieces):
        first = kept[-1] + 1 if kept else 0
        last = len(inner) - (pieces - 1 - k)  # leaves a boundary for each of the others
        kept.append(min(range(first, last), key=lambda i: abs(inner[i] - k * total / pieces)))
    return kept


def weight_layers(module: nn.Module) -> int:
    """Modules that hold a weight of two or more dimensions: linear, convolution, attention."""
    return sum(any(p.dim() > 1 for p in m.parameters(recurse=False)) for m in module.modules())


def _trace(encoder: nn.Module) -> fx.Graph:
    name = type(encoder).__name__
    try:
        graph = _Tracer().trace(encoder)
    except Exception as error:  # whatever the encoder's own code raises on a stand-in
        raise ValueError(
            f"`encoder` should be traceable by torch.fx or list its stages (`moml.backbone.Staged`)"
            f", found that {name} is not: {checks.said(error)}"
        ) from error
    inputs = [n for n in graph.nodes if n.op == "placeholder" and n.users]
    if len(inputs) != 1 or not isinstance(_returned(graph), fx.Node):
        raise ValueError(
            f"`encoder` should take one input to one tensor, found {len(inputs)} inputs to "
            f"{type(_returned(graph)).__name__} in {name}."
        )
    frozen = [
        n
        for n in graph.nodes
        if n.op == "call_function" and "dropout" in getattr(n.target, "__name__", "")
    ]
    if frozen:
        raise ValueError(
            f"`encoder` should use modules for dropout, found a function in {name}. Tracing would "
            "freeze whether it is on; use `torch.nn.Dropout`."
        )
    return graph


def _returned(graph: fx.Graph) -> fx.Node:
    return next(n for n in graph.nodes if n.op == "output").args[0]


def _places(encoder: nn.Module, graph: fx.Graph) -> tuple[set[fx.Node], list[tuple[fx.Node, int]]]:
    """Nodes that the input alone decides; where to cut, with the weight layers up to there."""
    import networkx as nx

    flow = nx.DiGraph((node, user) for node in graph.nodes for user in node.users)
    source = next(n for n in graph.nodes if n.op == "placeholder" and n.users)
    reached = nx.descendants(flow, source) | {source}
    ambient: set[fx.Node] = {source}
    stateful: set[fx.Node] = set()
    for node in graph.nodes:
        before = node.all_input_nodes
        if node.op == "get_attr" or any(n in stateful for n in before):
            stateful.add(node)
        free = all(n in ambient or n not in reached for n in before)
        if node in reached and free and node not in stateful and _stateless(encoder, node):
            ambient.add(node)
    end = _returned(graph)
    ambient.discard(end)
    kept = (nx.ancestors(flow, end) | {end}) & reached
    contracted = nx.DiGraph()
    for node in kept - ambient:
        before = [n for n in node.all_input_nodes if n in reached and n not in ambient]
        contracted.add_edges_from((n, node) for n in before or [_INPUT])
    above = nx.immediate_dominators(contracted, _INPUT)
    chain = [end]
    while (node := above[chain[-1]]) != _INPUT:
        chain.append(node)
    heavy = {n for n in kept if _is_heavy(encoder, n)}
    counts = {n: len(heavy & (nx.ancestors(contracted, n) | {n})) for n in chain}
    chain.reverse()
    places = []
    for _, run in groupby(chain[:-1], key=counts.__getitem__):
        nodes = [node for node in run if not _unpacked(node)]
        if not nodes:
            continue
        flat = (k for k, node in enumerate(nodes) if k and _flattens(encoder, node))
        node = nodes[next(flat, len(nodes)) - 1]  # maps rather than the vectors made of them
        if 0 < counts[node] < counts[end]:
            places.append((node, counts[node]))
    return ambient, [*places, (end, counts[end])]


def _unpacked(node: fx.Node) -> bool:
    """Whether it may be a tuple: an entry of it is taken by number."""
    return any(
        user.target is operator.getitem and isinstance(user.args[1], int) for user in node.users
    )


def _flattens(encoder: nn.Module, node: fx.Node) -> bool:
    if node.op == "call_module":
        return isinstance(encoder.get_submodule(str(node.target)), nn.Flatten)
    return node.target in (torch.flatten, "flatten", "reshape", "view")


def _stateless(encoder: nn.Module, node: fx.Node) -> bool:
    """Whether it is the same in every copy of the encoder: no state, nothing drawn."""
    if node.op != "call_module":
        return node.op in ("call_function", "call_method")
    module = encoder.get_submodule(str(node.target))
    return not module.state_dict() and not isinstance(module, nn.modules.dropout._DropoutNd)


def _is_heavy(encoder: nn.Module, node: fx.Node) -> bool:
    return node.op == "call_module" and bool(weight_layers(encoder.get_submodule(str(node.target))))


def _ambient(encoder: nn.Module, graph: fx.Graph, read: Sequence[fx.Node]) -> nn.Module:
    """What leads from the input to these nodes, as a module to the tuple of their values."""
    part = fx.Graph()
    inputs = part.placeholder("inputs")
    made = {n: inputs for n in graph.nodes if n.op == "placeholder" and n.users}
    _copy(graph, part, read, made)
    part.output(tuple(made[node] for node in read))
    return _module(encoder, part, "Ambient")


def _piece(
    encoder: nn.Module,
    graph: fx.Graph,
    start: fx.Node | None,
    end: fx.Node,
    read: Sequence[fx.Node],
) -> nn.Module:
    """What leads from one cut to the next, as a module of ``(x, ambient)``."""
    part = fx.Graph()
    x, ambient = part.placeholder("x"), part.placeholder("ambient")
    made = {} if start is None else {start: x}
    wanted = _wanted([end], {*made, *read})
    for k, node in enumerate(read):
        if node in wanted:
            made[node] = part.call_function(operator.getitem, (ambient, k))
    _copy(graph, part, [end], made)
    part.output(made[end])
    return _module(encoder, part, "Stage")


def _module(encoder: nn.Module, part: fx.Graph, name: str) -> nn.Module:
    """A graph with what it calls under flat names: looking up nested ones takes 3 % of a step."""
    part.lint()
    flat: dict[str, str] = {}
    for node in part.nodes:
        if node.op in ("call_module", "get_attr"):
            target = str(node.target)
            if target not in flat:
                short = target.replace(".", "_")
                while short in flat.values():
                    short += "_"
                flat[target] = short
            node.target = flat[target]
    held = {short: operator.attrgetter(target)(encoder) for target, short in flat.items()}
    module = fx.GraphModule(held, part, class_name=name)
    module.training = encoder.training
    return module


def _copy(
    graph: fx.Graph, part: fx.Graph, ends: Sequence[fx.Node], made: dict[fx.Node, fx.Node]
) -> None:
    """Copy into ``part`` what leads from nodes that are ``made`` already to ``ends``."""
    wanted = _wanted(ends, set(made))
    for node in graph.nodes:
        if node in wanted and node not in made:
            made[node] = part.node_copy(node, lambda n: made[n])


def _wanted(ends: Sequence[fx.Node], given: set[fx.Node]) -> set[fx.Node]:
    """The ends and all that leads to them, back to what is given."""
    wanted: set[fx.Node] = set()
    stack = list(ends)
    while stack:
        node = stack.pop()
        if node not in wanted:
            wanted.add(node)
            stack.extend([] if node in given else node.all_input_nodes)
    return wanted
