"""A network with many sets of parameters at once: one per episode of a batch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn import functional

from moml.bilevel.functional import Functional, structural_copy

# Layers whose stacked form is the same operation on tensors with one more dimension in front.
_ELEMENTWISE = (
    nn.ReLU, nn.LeakyReLU, nn.ELU, nn.SELU, nn.GELU, nn.SiLU, nn.Tanh, nn.Sigmoid, nn.Softplus,
    nn.Identity,
)  # fmt: skip
_LOOPED = (nn.modules.conv._ConvNd, nn.modules.pooling._MaxPoolNd, nn.modules.pooling._AvgPoolNd)
Step = Callable[[Mapping[str, Tensor], Tensor], Tensor]


class Stacked:
    """Calls a network on ``(E, B, ...)`` inputs with parameters ``(E, ...)``, one set per episode.

    Derivatives are taken outside, by plain autograd on the stacked tensors, whose values for one
    episode depend on that episode's parameters only: whole lower levels of many episodes run as
    one. Chains of linear layers and element-wise functions become batched matrix products; other
    networks are vectorised by `torch.func.vmap`.

    Args:
        function: The network.
        batched: Names of the parameters that have an episode dimension; all unless given.
    """

    def __init__(self, function: Functional, *, batched: frozenset[str] | None = None) -> None:
        self.function, self.batched = function, batched
        self._steps = _chain(function.network)

    def __call__(self, params: Mapping[str, Tensor], inputs: Tensor) -> Tensor:
        """Outputs ``(E, B, ...)``."""
        if self._steps is not None:
            for step in self._steps:
                inputs = step(params, inputs)
            return inputs
        dims = {n: 0 if self.batched is None or n in self.batched else None for n in params}
        return torch.func.vmap(self.function, in_dims=(dims, 0), randomness="different")(
            dict(params), inputs
        )


def worth_stacking(network: nn.Module) -> bool:
    """Whether many sets of parameters at once are faster than one after the other on a CPU.

    Matrix products are launched together; grouped convolutions and their second derivatives are
    slower than single ones and take many times the memory. Decided by the kinds of layers, so that
    the same network always takes the same way.
    """
    tracked = any(getattr(m, "track_running_stats", False) for m in network.modules())
    return not tracked and not any(isinstance(m, _LOOPED) for m in network.modules())


class _Tracer(fx.Tracer):
    """Takes subclasses of known layers for these layers."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return isinstance(m, (*_ELEMENTWISE, nn.Linear, nn.Flatten)) or super().is_leaf_module(
            m, module_qualified_name
        )


def _chain(network: nn.Module) -> list[Step] | None:
    """The network as stacked operations, if it is a chain of known layers."""
    try:
        graph = _Tracer().trace(structural_copy(network))  # which fx hangs constants on
    except Exception:  # fx raises whatever the module's own Python code does with a proxy
        return None
    modules = dict(network.named_modules())
    steps: list[Step] = []
    previous: fx.Node | None = None
    for node in graph.nodes:
        if node.op == "output":
            return steps if node.args[0] is previous else None
        if node.op != "placeholder":
            first = node.args[0] if node.args else None
            step = _step(node, modules) if first is previous else None
            if step is None:
                return None
            steps.append(step)
        elif previous is not None:
            return None
        previous = node
    return None


def _step(node: fx.Node, modules: Mapping[str, nn.Module]) -> Step | None:
    if node.op == "call_method" and node.target == "flatten" and node.args[1:] == (1,):
        return lambda params, x: x.flatten(2)
    if node.op != "call_module":
        return None
    name = str(node.target)
    module = modules[name]
    if isinstance(module, nn.Flatten) and (module.start_dim, module.end_dim) == (1, -1):
        return lambda params, x: x.flatten(2)
    if isinstance(module, _ELEMENTWISE):
        return lambda params, x: module(x)
    if isinstance(module, nn.Linear):
        return lambda params, x: _linear(params, name, module, x)
    return None


def _linear(params: Mapping[str, Tensor], name: str, module: Any, x: Tensor) -> Tensor:
    """A linear layer on ``(E, B, in)`` with weights ``(E, out, in)`` or ``(out, in)``."""
    weight = params.get(f"{name}.weight", module.weight)
    bias = params.get(f"{name}.bias", module.bias)
    if weight.dim() == 2 and (bias is None or bias.dim() == 1):
        return functional.linear(x, weight, bias)
    product = weight.mT if weight.dim() == 3 else weight.mT.expand(len(x), -1, -1)
    if bias is None:
        return torch.bmm(x, product)
    return torch.baddbmm(bias[:, None] if bias.dim() == 2 else bias, x, product)
