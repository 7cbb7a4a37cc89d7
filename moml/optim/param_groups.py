"""Parameter groups by name: rates of their own for parts of a network."""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Any

from torch import nn
from torch.nn import Parameter

from moml._support import checks

Groups = Mapping[str, Mapping[str, Any]]
"""Settings of an optimizer by pattern of parameter names."""


def param_groups(module: nn.Module, settings: Groups) -> list[dict[str, Any]]:
    """Groups for an optimizer: parameters whose names match a pattern get its settings.

    A pattern is a parameter's name or the beginning of one up to a dot, with ``*`` and ``?`` as in
    file names: ``"encoder"``, ``"heads.depth"``, ``"*.bias"``. A parameter belongs to the first
    pattern that matches; those that none matches form the first group, with the optimizer's own
    settings. Parameters that require no gradient are left out.

    Args:
        module: The network.
        settings: Settings by pattern, such as ``{"encoder": {"lr": 1e-4}}``.

    Returns:
        The groups, with their parameters under ``"params"``.

    Raises:
        ValueError: If a pattern matches no parameter, or its settings are no mapping.

    Example:
        >>> import torch
        >>> from moml.optim import param_groups
        >>> net = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Linear(2, 1))
        >>> groups = param_groups(net, {"0": {"lr": 1e-4}, "*.bias": {"weight_decay": 0.0}})
        >>> [len(group["params"]) for group in groups]
        [1, 2, 1]
        >>> torch.optim.AdamW(groups, lr=1e-3).param_groups[1]["lr"]
        0.0001
    """
    checks.instance("module", module, nn.Module, "a network (a `torch.nn.Module`)")
    what = "settings by pattern of names, such as `{'encoder': {'lr': 1e-4}}`"
    for pattern in checks.instance("settings", settings, Mapping, what):
        checks.instance("settings", pattern, str, what)
    named = dict(module.named_parameters())
    rest: list[Parameter] = []
    own: dict[str, list[Parameter]] = {pattern: [] for pattern in settings}
    matched = set()
    for name, parameter in named.items():
        pattern = next((one for one in settings if _matches(name, one)), None)
        matched.add(pattern)
        if parameter.requires_grad:
            (rest if pattern is None else own[pattern]).append(parameter)
    for pattern, values in settings.items():
        if not isinstance(values, Mapping):
            raise ValueError(
                f"`param_groups['{pattern}']` should be settings of an optimizer, such as "
                f"{{'lr': 0.001}}, found {values!r}."
            )
        if pattern not in matched:
            parts = sorted({name.split(".")[0] for name in named})
            raise ValueError(
                f"`param_groups` should name parameters, found '{pattern}', which matches none "
                f"that no pattern before it does. They begin with {', '.join(parts)}."
            )
    groups = [{"params": own[pattern], **values} for pattern, values in settings.items()]
    return [group for group in ({"params": rest}, *groups) if group["params"]]


def _matches(name: str, pattern: str) -> bool:
    parts = name.split(".")
    return any(fnmatchcase(".".join(parts[:i]), pattern) for i in range(1, len(parts) + 1))
