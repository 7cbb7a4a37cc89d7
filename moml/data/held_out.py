"""Part of a source, and a training split divided in two."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from moml._support import checks
from moml.data.batch import Batch
from moml.data.source import Source

Sources = Source | Mapping[str, Source]


class Part(Source):
    """Some samples of a source.

    Args:
        source: The samples.
        indices: Which of them, ``(N,)``, at least one.
    """

    def __init__(self, source: Source, indices: Tensor) -> None:
        checks.instance("source", source, Source, "a source such as `moml.data.TensorSource`")
        checks.instance("indices", indices, Tensor, "a tensor of numbers of samples")
        if len(indices) == 0:
            raise ValueError("`indices` should name at least one sample, found none.")
        self.source, self.indices = source, indices

    def __len__(self) -> int:
        return len(self.indices)

    def batch(self, indices: Tensor) -> Batch:
        """Samples of the whole source, by position in the part."""
        return self.source.batch(self.indices[indices])

    def view(self, indices: Tensor, generator: torch.Generator) -> Batch:
        """Random views of them."""
        return self.source.view(self.indices[indices], generator)


def hold_out(sources: Sources, share: float, *, seed: int = 0) -> tuple[Sources, Sources]:
    """Divide samples at random into the rest and a held-out part.

    Args:
        sources: One source, or one per task, each divided on its own.
        share: Share of the samples held out, between 0 and 1; at least one stays on either side.
        seed: Seed of the permutation.

    Returns:
        The rest, and what is held out.

    Raises:
        ValueError: If the share is out of range or a source has one sample only.
    """
    checks.number("share", share, above=0.0, below=1.0)
    checks.seed(seed)
    if isinstance(sources, Source):
        return _divide(sources, share, seed)
    what = "a source such as `moml.data.TensorSource`, or one by task"
    for source in checks.instance("sources", sources, Mapping, what).values():
        checks.instance("sources", source, Source, what)
    parts = {t: _divide(s, share, seed + 101 * i) for i, (t, s) in enumerate(sources.items())}
    return {t: rest for t, (rest, _) in parts.items()}, {t: held for t, (_, held) in parts.items()}


def _divide(source: Source, share: float, seed: int) -> tuple[Source, Source]:
    n = len(source)
    if n < 2:
        raise ValueError(f"`sources` should hold at least two samples to divide, found {n}.")
    order = torch.randperm(n, generator=torch.Generator().manual_seed(seed))
    held = min(max(round(share * n), 1), n - 1)
    return Part(source, order[held:].sort().values), Part(source, order[:held].sort().values)
