"""A layout for every graph: networks may change from step to step."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from torch import Tensor
from torch.autograd.graph import Node
from torch.nn import Parameter

from moml.gradients.fast_ways import FastWays, ProvenLayers
from moml.gradients.features import Features
from moml.gradients.graph import Walk, walk
from moml.gradients.layout import Layout, lay_out, plain_leaves
from moml.gradients.rows import Strategy

Declared = tuple[Iterable[Parameter], Mapping[str, Iterable[Parameter]]]
"""Shared parameters, and private ones per task."""

_KEPT = 256  # layouts of the graphs seen last


@dataclass
class Graph:
    """A graph met before.

    Attributes:
        layout: Of its parameters.
        by_sizes: Layouts with plans, for tensors of various sizes.
        ways: The fast ways to form rows that hold on it.
    """

    layout: Layout
    by_sizes: dict[Any, Layout] = field(default_factory=dict)
    ways: FastWays = field(default_factory=FastWays)


class Found(NamedTuple):
    """What a step's gradients are formed by.

    Attributes:
        layout: Of this step's graph.
        features: The representation; none where parameters are reached on both of its sides.
        nodes: Of this step's graph; `LinearLayer.place` counts them.
        ways: The fast ways that hold on it.
        layers: Linear layers whose gradients follow from their inputs and outputs.
    """

    layout: Layout
    features: Features
    nodes: Sequence[Node] = ()
    ways: FastWays = FastWays()
    layers: ProvenLayers = ProvenLayers()


class Layouts:
    """Finds a step's layout: anew where the graph is a new one, remembered where it is not.

    Each step's graph is walked once. Layers that are skipped, routed, frozen, unfrozen or replaced
    change its signature, and what is shared, private and reached is found again. Everything follows
    from the step's own graph and sizes, so that a resumed run forms rows as the unbroken one did.

    Args:
        strategy: How rows are formed, as for `moml.oracle.Direct`.
        verify: As for `moml.gradients.layout.lay_out`.
    """

    def __init__(self, strategy: Strategy, *, verify: bool = True) -> None:
        self.strategy, self.verify = strategy, verify
        self.layers = ProvenLayers()
        self._graphs: OrderedDict[tuple[Any, ...], Graph] = OrderedDict()
        self._last: tuple[tuple[str, ...], list[Any], Graph] | None = None
        self._plain: set[int] = set()

    def find(
        self, losses: Mapping[str, Tensor], features: Features, declared: Callable[[], Declared]
    ) -> Found:
        """The layout of the graph that these losses have now.

        Args:
            losses: Task name to scalar.
            features: The representation.
            declared: Gives the declared parameters; called where the graph is a new one.
        """
        walked = self._walk(losses, features)
        names, last = tuple(losses), self._last
        if last is not None and last[0] == names and last[1] == walked.signature:
            graph = last[2]
        else:
            graph, walked = self._look_up(walked, losses, features, declared)
            self._last = names, walked.signature, graph
        samples = tuple(layer.samples(walked.nodes) for layer in graph.layout.linear)
        sizes = samples, tuple(output.shape for output in features.outputs)
        layout = graph.by_sizes.get(sizes)
        if layout is None:
            layout = graph.layout.planned(self.strategy, features, samples, len(names))
            graph.by_sizes[sizes] = layout
        return Found(layout, features, walked.nodes, graph.ways, self.layers)

    def _walk(self, losses: Mapping[str, Tensor], features: Features) -> Walk:
        cut = features.inputs if features.detached else ()
        return walk([*losses.values(), *features.outputs], cut, self._plain)

    def _look_up(
        self,
        walked: Walk,
        losses: Mapping[str, Tensor],
        features: Features,
        declared: Callable[[], Declared],
    ) -> tuple[Graph, Walk]:
        """The graph among those met lately, or as a new one."""
        graph = self._graphs.get(_key(walked, losses, features))
        if graph is None:
            layout = lay_out(losses, features, *declared(), walked, verify=self.verify)
            if plain := plain_leaves(layout) - self._plain:
                self._plain |= plain  # they were taken for data
                walked = self._walk(losses, features)
            graph = Graph(layout)
        key = _key(walked, losses, features)
        self._graphs[key] = graph
        self._graphs.move_to_end(key)
        if len(self._graphs) > _KEPT:
            self._graphs.popitem(last=False)
        return graph, walked

    def clear(self) -> None:
        """Let go of all layouts, and of the parameters that they hold."""
        self._graphs.clear()
        self._last, self._plain, self.layers = None, set(), ProvenLayers()


def _key(walked: Walk, losses: Mapping[str, Tensor], features: Features) -> tuple[Any, ...]:
    return (*losses, features.apart, *walked.signature)
