"""Few-shot classification of coloured pictures: what miniImageNet and CIFAR-FS have in common."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import ClassVar

from torch import Tensor, nn

from moml.backbone import Conv4, LinearHead
from moml.data import EpisodeSource, FewShotDefaults, FewShotSuite, TaskSpec
from moml.data.class_episodes import Samples
from moml.data.suite import Split
from tasks._accuracy import classification
from tasks._episodes import check_episode, episodes_of
from tasks._files.layout import Found, Layout, find


class FewShotPictures(FewShotSuite):
    """Episodes of pictures from files, with the settings of MAML.

    Args:
        root: Folder with the data.
        ways: Classes per episode.
        shots: Support pictures per class.
        queries: Query pictures per class.
        seed: Seed of the validation and test episodes.
    """

    title: ClassVar[str]
    """As errors name it."""
    layouts: ClassVar[Sequence[Layout]]
    side: ClassVar[int]
    """Pixels of a side."""
    width: ClassVar[int]
    """Channels of the encoder."""
    defaults = FewShotDefaults(
        steps=60_000, meta_batch_size=4, learning_rate=1e-3, inner_learning_rate=0.01,
        inner_steps=5, eval_inner_steps=10, eval_every=1000, eps=8 / 255,
    )  # fmt: skip
    bounds = (0.0, 1.0)

    def __init__(
        self, root: Path, *, ways: int = 5, shots: int = 1, queries: int = 15, seed: int = 0
    ) -> None:
        self.found = self.discover(root)
        self.ways, self.shots, self.queries, self.seed = ways, shots, queries, seed
        check_episode(ways=ways, shots=shots, queries=queries, classes={})
        self._split = cache(self.read)

    @classmethod
    def discover(cls, root: Path) -> Found:
        """The layout of the data in a folder.

        Raises:
            ValueError: If there is none: what is missing.
        """
        return find(cls.title, root, cls.layouts)

    @abstractmethod
    def read(self, split: Split) -> tuple[Samples, Tensor]:
        """Pictures of a split, and the number of each one's class."""

    @property
    def tasks(self) -> Mapping[str, TaskSpec]:
        """One task: which of the episode's classes it is."""
        return {"class": classification(self.ways)}

    def source(self, split: Split) -> EpisodeSource:
        """Episodes of the split's classes."""
        return episodes_of(
            self._split(split), ways=self.ways, shots=self.shots, queries=self.queries
        )

    def encoder(self) -> nn.Module:
        """Four convolutional blocks, normalised by the batch's own statistics."""
        return Conv4((self.side, self.side), in_channels=3, width=self.width)

    def head(self, in_features: int) -> nn.Module:
        """A linear classifier of the episode's classes."""
        return LinearHead(in_features, self.ways)
