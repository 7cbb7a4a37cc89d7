"""Networks that are chains of layers whose form for many sets of parameters is known."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.modules import module as hooks

from moml.backbone import MLP, LinearHead, MLPHead

# The same operation on tensors with one more dimension in front.
_ELEMENTWISE = (
    nn.ReLU, nn.LeakyReLU, nn.ELU, nn.SELU, nn.GELU, nn.SiLU, nn.Tanh, nn.Sigmoid, nn.Softplus,
    nn.Identity, nn.Dropout,
)  # fmt: skip
_LINEAR = (nn.Linear, LinearHead)
_CONTAINERS = (nn.Sequential, MLP, MLPHead)
# What each type's forward pass was when this was written.
_FORWARD = {t: t.forward for t in (*_ELEMENTWISE, *_LINEAR, *_CONTAINERS, nn.Flatten)}


@dataclass(frozen=True)
class Link:
    """A layer of a chain.

    Attributes:
        layer: The layer; ``None`` flattens samples.
        names: Names of its weight and bias among the network's parameters, where it is linear.
    """

    layer: nn.Module | None
    names: tuple[str, str] | None = None

    def __call__(self, params: Mapping[str, Tensor], x: Tensor) -> Tensor:
        """The layer on ``(E, B, ...)``."""
        if self.layer is None:
            return x.flatten(2)
        if self.names is None:
            y: Tensor = self.layer(x)
            return y
        own = self.layer._parameters
        weight = params.get(self.names[0], own["weight"])
        assert weight is not None
        return _linear(weight, params.get(self.names[1], own["bias"]), x)


def chain(network: nn.Module) -> list[Link] | None:
    """The network as a chain, looked at anew: ``None`` where it is not proven to be one.

    Every part has exactly a type that is known here, with that type's own forward pass, no hooks
    and no parameters but the type's.
    """
    if hooks._global_forward_hooks or hooks._global_forward_pre_hooks:
        return None
    links: list[Link] = []
    names: dict[int, str] = {}
    return links if all(_extend(links, names, *part) for part in [(network, "")]) else None


def _extend(links: list[Link], names: dict[int, str], module: nn.Module, stem: str) -> bool:
    """Append a part; whether it is known. ``names`` are those that tied tensors go by."""
    kind, own = type(module), module.__dict__
    if kind not in _FORWARD or kind.forward is not _FORWARD[kind] or "forward" in own:
        return False
    if own["_forward_hooks"] or own["_forward_pre_hooks"]:
        return False
    if own["_backward_hooks"] or own["_backward_pre_hooks"]:
        return False
    if kind in _CONTAINERS:
        if kind is MLP:
            links.append(Link(None))
        return all(_extend(links, names, part, name) for part, name in _parts(module, stem))
    if kind in _LINEAR:
        parameters = own["_parameters"]
        if parameters.keys() != {"weight", "bias"} or parameters["weight"] is None:
            return False
        weight, bias = (
            names.setdefault(id(p), f"{stem}{n}") if p is not None else f"{stem}{n}"
            for n, p in parameters.items()
        )
        links.append(Link(module, (weight, bias)))
        return True
    if isinstance(module, nn.Flatten):
        links.append(Link(None))
        return (module.start_dim, module.end_dim) == (1, -1)
    links.append(Link(module))
    return True


def _parts(module: nn.Module, stem: str) -> Iterator[tuple[nn.Module, str]]:
    for name, part in module._modules.items():
        assert part is not None
        yield part, f"{stem}{name}."


def _linear(weight: Tensor, bias: Tensor | None, x: Tensor) -> Tensor:
    """A linear layer on ``(E, ..., in)`` with weights ``(E, out, in)`` or ``(out, in)``."""
    if weight.dim() == 2 and (bias is None or bias.dim() == 1):
        return functional.linear(x, weight, bias)
    rows = x if x.dim() == 3 else x.flatten(1, -2)  # (E, B, in)
    product = weight.mT if weight.dim() == 3 else weight.mT.expand(len(x), -1, -1)
    if bias is None:
        y = torch.bmm(rows, product)
    else:
        y = torch.baddbmm(bias[:, None] if bias.dim() == 2 else bias, rows, product)
    return y if x.dim() == 3 else y.unflatten(1, x.shape[1:-1])
