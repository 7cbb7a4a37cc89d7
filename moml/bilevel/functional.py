"""A network as a pure function of its parameters."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from moml._support.substitution import TURN, substituted

Statistics = Literal["batch", "running", "support"]
"""What batch normalisation normalises by: see `Functional`."""
_Use = Literal["own", "gather", "apply"]


class Functional:
    """Calls a network with other parameters than its own, which it never touches.

    The network itself is called, with the tensors exchanged for as long as the call takes: its
    modes, attributes, hooks and buffers are those of the moment. Nothing it writes is kept, running
    statistics included. Calls of several threads take turns.

    A layer with running statistics that is in evaluation mode inside of a network in training mode
    was frozen by its owner: it normalises by the stored statistics, then and in evaluation.

    Args:
        network: Any module.
        statistics: What layers with running statistics normalise by: those of the batch itself
            (``"batch"``, as in MAML: a query set is then normalised by its own statistics, which
            the other queries leak into), the stored ones (``"running"``), or those of the support
            set, which `reference` gives (``"support"``: no query leaks).
        select: Takes what is wanted from what the network returns; all of it unless given.
    """

    def __init__(
        self,
        network: nn.Module,
        *,
        statistics: Statistics = "batch",
        select: Callable[[Any], Tensor] | None = None,
    ) -> None:
        if statistics not in get_args(Statistics):
            raise ValueError(
                f"`statistics` should be one of {', '.join(get_args(Statistics))}, "
                f"found {statistics!r}."
            )
        self.network, self.statistics, self.select = network, statistics, select
        self._frozen: frozenset[str] = frozenset()

    def __call__(self, params: Mapping[str, Tensor], inputs: Tensor) -> Tensor:
        """The network's output with ``params`` in place of its own parameters of these names."""
        return self._call("own", params, inputs)

    def reference(self, params: Mapping[str, Tensor], support: Tensor, inputs: Tensor) -> Tensor:
        """The output for ``inputs``, normalised by the statistics of ``support`` as constants."""
        with torch.no_grad():
            detached = {name: p.detach() for name, p in params.items()}
            _, found = self.observed(detached, support)
        return self.normalised(params, found, inputs)

    def observed(
        self, params: Mapping[str, Tensor], inputs: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The output normalised by the batch's own statistics, and these, by names of buffers."""
        buffers = {name: b.clone() for name, b in self.network.named_buffers()}
        return self._call("gather", {**params, **buffers}, inputs), buffers

    def normalised(
        self, params: Mapping[str, Tensor], statistics: Mapping[str, Tensor], inputs: Tensor
    ) -> Tensor:
        """The output normalised by ``statistics``, given by the names of the network's buffers."""
        return self._call("apply", {**params, **statistics}, inputs)

    def _call(self, use: _Use, state: Mapping[str, Tensor], inputs: Tensor) -> Tensor:
        with TURN:
            layers = tracked_layers(self.network)
            tracked, free = layers.values(), self._free(layers)
            written = () if use == "gather" else tracked
            with substituted(self.network, state, read_only=written), self._prepared(use, free):
                output = self.network(inputs)
        return self.chosen(output)

    def chosen(self, output: Any) -> Tensor:
        """What is wanted of what the network returns."""
        return output if self.select is None else self.select(output)

    def _free(self, layers: Mapping[str, _NormBase]) -> list[_NormBase]:
        """Those that their owner did not freeze."""
        if self.network.training:
            self._frozen = frozenset(n for n, m in layers.items() if not m.training)
        return [m for n, m in layers.items() if n not in self._frozen]

    @contextmanager
    def _prepared(self, use: _Use, layers: Collection[_NormBase]) -> Iterator[None]:
        """Layers with running statistics normalise by what the use wants."""
        before = [
            (m, m.training, m.momentum, m.track_running_stats, dict(m._buffers)) for m in layers
        ]
        try:
            for module in layers:
                if use == "gather":
                    module.training, module.momentum = True, 1.0
                elif use == "apply" or self.statistics == "running":
                    module.training = False
                else:
                    _forget(module)
            yield
        finally:
            for module, training, momentum, tracks, buffers in before:
                module.training, module.momentum = training, momentum
                module.track_running_stats = tracks
                module._buffers.update(buffers)


def tracked_layers(network: nn.Module) -> dict[str, _NormBase]:
    """Layers with running statistics, by name."""
    return {
        name: module
        for name, module in network.named_modules()
        if isinstance(module, _NormBase) and module.running_mean is not None
    }


def _forget(module: _NormBase) -> None:
    """Without running statistics a layer normalises by its batch, whatever its mode."""
    module.running_mean = module.running_var = module.num_batches_tracked = None
    module.track_running_stats = False
