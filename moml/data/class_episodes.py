"""N-way K-shot classification episodes.

O. Vinyals, C. Blundell, T. Lillicrap, K. Kavukcuoglu, D. Wierstra, "Matching networks for one shot
learning", NeurIPS 2016.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor

from moml._support import checks
from moml.data.batch import Batch
from moml.data.episode_batch import EpisodeBatch
from moml.data.episodes import EpisodeSource

Augmentation = Callable[[Tensor, torch.Generator], Tensor]


class Samples(Protocol):
    """What episodes are drawn from: a tensor, or anything gathered like one."""

    def __len__(self) -> int:
        """Number of samples."""

    def __getitem__(self, indices: Tensor, /) -> Tensor:
        """The samples at ``indices`` ``(B,)``, stacked."""


class ClassEpisodes(EpisodeSource):
    """Episodes of a few classes each, out of many.

    The ``ways`` classes of an episode are distinct and numbered 0, 1, ... in random order, so that
    a label means nothing beyond its episode. Support and query hold distinct samples, class by
    class: sample ``n * shots + k`` of a support set is the ``k``-th of class ``n``.

    Args:
        inputs: All samples ``(N, ...)``: a tensor, or what is gathered like one.
        labels: Their classes ``(N,)``, any integers.
        ways: Classes per episode.
        shots: Support samples per class.
        queries: Query samples per class.
        task: Name of the task.
        augment: Changes images ``(B, ...)`` at random, drawing from the generator it is given.

    Raises:
        ValueError: If there are too few classes, or too few samples of one.
    """

    def __init__(
        self,
        inputs: Samples,
        labels: Tensor,
        *,
        ways: int,
        shots: int,
        queries: int,
        task: str = "class",
        augment: Augmentation | None = None,
    ) -> None:
        for name, value in (("ways", ways), ("shots", shots), ("queries", queries)):
            checks.whole(name, value, least=1)
        checks.instance("labels", labels, Tensor, "a tensor", "Convert it: `torch.as_tensor`.")
        if augment is not None:
            checks.function("augment", augment, "lambda images, generator: images")
        if labels.shape != (len(inputs),):
            raise ValueError(
                f"`labels` should be one integer per input, of shape ({len(inputs)},), "
                f"found {tuple(labels.shape)}."
            )
        kinds, sizes = labels.unique(return_counts=True)
        if ways > len(kinds):
            raise ValueError(
                f"`ways` should be at most the number of classes ({len(kinds)}), found {ways}."
            )
        if shots + queries > int(sizes.min()):
            raise ValueError(
                f"`shots` + `queries` should be at most {int(sizes.min())}, the samples there are "
                f"of a class, found {shots} + {queries}. Support and query share no sample."
            )
        self.inputs, self.ways, self.shots, self.queries = inputs, ways, shots, queries
        self.task, self.augment = task, augment
        self.members = torch.full((len(kinds), int(sizes.max())), -1)  # (C, M), rows padded by -1
        for row, kind in zip(self.members, kinds, strict=True):
            found = (labels == kind).nonzero().flatten()
            row[: len(found)] = found

    def sample(self, generator: torch.Generator, count: int) -> EpisodeBatch:
        """Draw classes, then samples of each, without replacement."""
        kinds = _permutations((count, len(self.members)), generator)[:, : self.ways]  # (E, N)
        members = self.members[kinds]  # (E, N, M)
        scores = torch.rand(members.shape, generator=generator).masked_fill(members < 0, 2.0)
        chosen = members.gather(-1, scores.argsort(-1))[..., : self.shots + self.queries]
        support, query = chosen.split([self.shots, self.queries], dim=-1)
        return EpisodeBatch(self._batch(support, generator), self._batch(query, generator))

    def _batch(self, chosen: Tensor, generator: torch.Generator) -> Batch:
        """The samples ``(E, N, K)`` as a batch of ``(E, N * K, ...)``."""
        inputs = self.inputs[chosen.flatten()]
        if self.augment is not None:
            inputs = self.augment(inputs, generator)
        labels = torch.arange(self.ways)[None, :, None].expand_as(chosen).flatten(1)
        return Batch(inputs.unflatten(0, labels.shape), {self.task: labels})


def _permutations(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    return torch.rand(shape, generator=generator).argsort(-1)
