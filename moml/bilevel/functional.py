"""A network as a pure function of its parameters."""

from __future__ import annotations

import copy
import threading
from collections.abc import Mapping
from typing import Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm, _NormBase

Statistics = Literal["batch", "running", "support"]
"""What batch normalisation normalises by: see `Functional`."""


class Functional:
    """Calls a network with other parameters than its own, which it never touches.

    Every thread works on a structural copy of its own (the tensors are the network's): replacing
    parameters on a shared module is not safe. Modes (training, evaluation) are those of the network
    at the time of the call. Running statistics are never written to.

    Args:
        network: Any module.
        statistics: What layers with running statistics normalise by: those of the batch itself
            (``"batch"``, as in MAML: a query set is then normalised by its own statistics, which
            the other queries leak into), the stored ones (``"running"``), or those of the support
            set, which `reference` gives (``"support"``: no query leaks).
    """

    def __init__(self, network: nn.Module, *, statistics: Statistics = "batch") -> None:
        if statistics not in get_args(Statistics):
            raise ValueError(
                f"`statistics` should be one of {', '.join(get_args(Statistics))}, "
                f"found {statistics!r}."
            )
        self.network, self.statistics = network, statistics
        # Looking for shared tensors takes longer than a small layer; once is enough.
        self._tied = _has_tied_tensors(network)
        self._local = threading.local()

    def __call__(self, params: Mapping[str, Tensor], inputs: Tensor) -> Tensor:
        """The network's output with ``params`` in place of its own parameters of these names."""
        return self._call(self._copy("own"), dict(params), inputs)

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
        return self._call(self._copy("gather"), {**params, **buffers}, inputs), buffers

    def normalised(
        self, params: Mapping[str, Tensor], statistics: Mapping[str, Tensor], inputs: Tensor
    ) -> Tensor:
        """The output normalised by ``statistics``, given by the names of the network's buffers."""
        buffers = {**dict(self.network.named_buffers()), **statistics}
        return self._call(self._copy("apply"), {**params, **buffers}, inputs)

    def _call(self, copied: nn.Module, state: dict[str, Tensor], inputs: Tensor) -> Tensor:
        output: Tensor = torch.func.functional_call(
            copied, state, (inputs,), tie_weights=self._tied
        )
        return output

    def _copy(self, use: Literal["own", "gather", "apply"]) -> nn.Module:
        """This thread's structural copy for a use, in the network's present mode."""
        key = use, self.network.training
        copies = self._local.__dict__.setdefault("copies", {})
        if key not in copies:
            copies[key] = self._prepared(use)
        copied: nn.Module = copies[key]
        return copied

    def _prepared(self, use: Literal["own", "gather", "apply"]) -> nn.Module:
        copied = structural_copy(self.network)
        for module in tracked_layers(copied).values():
            if use == "gather":
                module.train()
                module.momentum = 1.0
            elif use == "apply" or self.statistics == "running":
                module.eval()
            else:
                _forget(module)
        return copied


def structural_copy(network: nn.Module) -> nn.Module:
    """A copy of the modules that shares all tensors."""
    tensors = [*network.parameters(), *network.buffers()]
    return copy.deepcopy(network, memo={id(t): t for t in tensors})


def _has_tied_tensors(network: nn.Module) -> bool:
    """Whether two names stand for one tensor."""
    named = [
        *network.named_parameters(remove_duplicate=False),
        *network.named_buffers(remove_duplicate=False),
    ]
    return len({id(tensor) for _, tensor in named}) < len(named)


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


def couples_samples(network: nn.Module) -> bool:
    """Whether a layer with running statistics is in the network."""
    return any(isinstance(m, _BatchNorm) and m.track_running_stats for m in network.modules())
