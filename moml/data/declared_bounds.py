"""Bounds that a run attacks within: the suite's or others, checked against the data."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from moml._support.nesting import tensors_in
from moml.data import Bounds, FewShotSuite, Source, Suite, TensorSource
from moml.data.bounds import leaves_bounds
from moml.data.suite import Split

BoundsOption = Literal["suite"] | tuple[float, float] | None
"""The suite's, an interval of one's own, or none."""
SAMPLES = 64  # looked at per split, where data are not in memory


def data_bounds(suite: Suite | FewShotSuite, asked: BoundsOption) -> Bounds | None:
    """The bounds that attacks on a suite's inputs keep to.

    Args:
        suite: The data.
        asked: What the option says.

    Raises:
        ValueError: If they are no interval, or data lie outside of them.
    """
    bounds: Bounds | None = suite.bounds if isinstance(asked, str) else asked
    if bounds is None:
        return None
    low, high = (torch.as_tensor(end) for end in bounds)
    if not bool((low < high).all()):
        raise ValueError(f"`bounds` should be (low, high) with low < high, found {shown(bounds)}.")
    for split in get_args(Split):
        for x in _inputs(suite, split):
            found = leaves_bounds(x, bounds)
            if found:
                raise ValueError(
                    f"`bounds` should hold all inputs of {type(suite).__name__}, found "
                    f"{shown(bounds)} and inputs of {found} ({split}). Give the interval of valid "
                    "inputs, or null if there is none."
                )
    return bounds


def shown(bounds: Bounds | None) -> list[Any] | None:
    """Bounds as plain data, for files and messages."""
    if bounds is None:
        return None
    return [end.flatten().tolist() if isinstance(end, Tensor) else end for end in bounds]


def _inputs(suite: Suite | FewShotSuite, split: Split) -> Iterable[Tensor]:
    """All inputs of a split that are held in memory, some of the others."""
    if isinstance(suite, FewShotSuite):
        episode = suite.episodes(split, meta_batch_size=1, count=1).batch(0)
        return [*tensors_in(episode.support.inputs), *tensors_in(episode.query.inputs)]
    sources = suite.sources(split)
    found: list[Tensor] = []
    for source in [sources] if isinstance(sources, Source) else sources.values():
        if isinstance(source, TensorSource):
            found += tensors_in(source.inputs)
        else:
            some = torch.arange(min(SAMPLES, len(source)))
            found += tensors_in(source.batch(some).inputs)
    return found
