"""Looks at episodes and objectives before anything is computed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from moml.data.batch import Batch
from moml.data.episode_batch import EpisodeBatch
from moml.few_shot.objectives import QueryObjective

Pair = tuple[Batch, Batch]
_EPISODES = "an `EpisodeBatch(support, query)`, or a list of `(support, query)` pairs of `Batch`es"


def check_network(network: Any) -> None:
    """Raise a `ValueError` for what is no module, a class among them."""
    if isinstance(network, type):
        raise ValueError(
            f"`network` should be a module, found the class {network.__name__}. Make an instance: "
            f"`{network.__name__}(...)`."
        )
    if not isinstance(network, nn.Module):
        raise ValueError(
            f"`network` should be a `torch.nn.Module`, found {type(network).__name__}."
        )


def check_objectives(objectives: Any) -> None:
    """Raise a `ValueError` for what is no mapping from names to objectives."""
    hint = "Say `{'query': Clean()}`, or subclass `QueryObjective`."
    if not isinstance(objectives, Mapping) or not objectives:
        found = "an empty one" if isinstance(objectives, Mapping) else type(objectives).__name__
        raise ValueError(
            f"`objectives` should be a mapping from names to objectives, found {found}. {hint}"
        )
    for name, objective in objectives.items():
        if not isinstance(objective, QueryObjective):
            found = (
                f"the class {objective.__name__}"
                if isinstance(objective, type)
                else type(objective).__name__
            )
            raise ValueError(
                f"`objectives[{name!r}]` should be a `QueryObjective`, found {found}. {hint}"
            )


def check_episodes(batch: Any, target: str) -> None:
    """Raise a `ValueError` for what are no episodes, or do not have the target."""
    if isinstance(batch, EpisodeBatch):
        sizes = [_size(name, getattr(batch, name), target, 2) for name in ("support", "query")]
        if sizes[0] != sizes[1]:
            raise ValueError(
                "`support` and `query` should have one number of episodes in front, found "
                f"{sizes[0]} and {sizes[1]}. Stack inputs as (episodes, samples, ...)."
            )
        return
    if not isinstance(batch, Sequence) or isinstance(batch, str) or not batch:
        found = "none" if isinstance(batch, Sequence) else type(batch).__name__
        raise ValueError(
            f"`batch` should be {_EPISODES}, found {found}. A single episode is "
            "`[(support, query)]`."
        )
    for i, pair in enumerate(batch):
        if not isinstance(pair, tuple | list) or len(pair) != 2:
            raise ValueError(
                f"`batch[{i}]` should be a pair (support, query) of `Batch`es, found "
                f"{type(pair).__name__}. A single episode is `[(support, query)]`."
            )
        for j, part in enumerate(pair):
            _size(f"batch[{i}][{j}]", part, target, 1)


def labelled(batch: Batch, target: str) -> Batch:
    """The samples of one episode that carry a label, with their weights.

    Raises:
        ValueError: If there is none.
    """
    weights = batch.labelled_weights(target)
    if weights is None and target not in (batch.present or ()):
        return batch
    inputs, targets = batch.labelled(target, batch.inputs)
    if not len(targets) or (weights is not None and not bool(weights.sum() > 0)):
        raise ValueError(
            f"Each support and query set should have a sample with a label of '{target}' and a "
            "positive weight, found one without. Leave the episode out."
        )
    return Batch(inputs, {target: targets}, None, None if weights is None else {target: weights})


def uniform(batch: EpisodeBatch, target: str) -> bool:
    """Whether all samples carry a label and count alike."""
    parts = (batch.support, batch.query)
    return not any(target in (field or ()) for b in parts for field in (b.present, b.weights))


def _size(name: str, part: Any, target: str, dims: int) -> int:
    """Number of entries in front of inputs and targets, checked."""
    if not isinstance(part, Batch):
        raise ValueError(
            f"`{name}` should be a `Batch`, found {type(part).__name__}. Say "
            f"`moml.data.Batch(inputs, {{{target!r}: targets}})`."
        )
    if target not in part.targets:
        raise ValueError(
            f"`target` should be a target of the batch, one of {list(part.targets)}, found "
            f"{target!r}. Say `FewShot(..., target=...)`."
        )
    if not isinstance(part.inputs, Tensor):
        raise ValueError(
            f"`{name}.inputs` should be one tensor, found {type(part.inputs).__name__}. Wrap the "
            "network in a module that takes one tensor."
        )
    y = part.targets[target]
    front, found = tuple(part.inputs.shape[:dims]), tuple(y.shape[:dims])
    if front != found or len(front) < dims:
        what = "(episodes, samples)" if dims == 2 else "(samples,)"
        raise ValueError(
            f"`{name}` should have inputs and targets that begin with the same {what}, found "
            f"inputs {tuple(part.inputs.shape)} and targets {tuple(y.shape)}."
        )
    for field, values in (("present", part.present), ("weights", part.weights)):
        if values is not None and target in values and tuple(values[target].shape) != front:
            raise ValueError(
                f"`{name}.{field}` should have shape {front} for {target!r}, found "
                f"{tuple(values[target].shape)}."
            )
    return front[0]
