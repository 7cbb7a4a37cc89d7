"""Modules known to compute what their type says, so that they may be run in another way."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from torch import nn
from torch.nn.modules import module as hooks

_FORWARD = {
    kind: kind.forward
    for kind in (
        nn.Sequential, nn.Identity, nn.ReLU, nn.Conv2d, nn.BatchNorm2d, nn.AvgPool2d, nn.MaxPool2d,
    )
}  # fmt: skip
_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
_SAID: set[str] = set()


def plain(module: nn.Module) -> bool:
    """Whether the module and all its parts have exactly a known type and nothing added to it.

    Subclasses, parametrizations, hooks, replaced forward passes and further parameters are not
    looked through: such modules are run as they are.
    """
    if hooks._global_forward_hooks or hooks._global_forward_pre_hooks:
        return False
    return all(_plain(part) for part in module.modules())


def alike(chains: Sequence[nn.Sequential]) -> bool:
    """Whether chains of plain modules differ in nothing but the values of their parameters."""
    return len({tuple(map(repr, chain)) for chain in chains}) == 1


def say_once(text: str) -> None:
    """A line in the log, unless it was there before."""
    if text not in _SAID:
        _SAID.add(text)
        logging.getLogger("moml").warning(text)


def _plain(module: nn.Module) -> bool:
    kind, own = type(module), module.__dict__
    if kind not in _FORWARD or kind.forward is not _FORWARD[kind] or "forward" in own:
        return False
    if any(own[name] for name in _HOOKS):
        return False
    if isinstance(module, nn.Conv2d):
        return module.padding_mode == "zeros" and own["_parameters"].keys() == {"weight", "bias"}
    return not set(own["_parameters"]) - {"weight", "bias"}
