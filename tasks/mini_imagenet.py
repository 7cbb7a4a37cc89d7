"""miniImageNet: which of five kinds of things is it, having seen one or five pictures of each?

O. Vinyals, C. Blundell, T. Lillicrap, K. Kavukcuoglu, D. Wierstra, "Matching networks for one shot
learning", NeurIPS 2016; the split of S. Ravi, H. Larochelle, ICLR 2017.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path

from torch import Tensor, nn

from moml.backbone import Conv4, LinearHead
from moml.data import EpisodeSource, FewShotDefaults, FewShotSuite, TaskSpec
from moml.data.class_episodes import Samples
from moml.data.suite import Split
from tasks._accuracy import classification
from tasks._episodes import check_episode, episodes_of
from tasks._files.layout import Found, find
from tasks._mini_imagenet_files import LAYOUTS, read_split

SIDE = 84


class MiniImageNet(FewShotSuite):
    """A hundred of ImageNet's classes, 600 pictures each, 64 of them for training: episodes.

    Layouts: ``mini-imagenet-cache-{train,val,test}.pkl`` (also ``-validation``), read without
    executing them; ``images/*.jpg`` with ``{train,val,test}.csv``; or a folder per class in
    ``{train,val,test}``. Inputs are ``(3, 84, 84)`` in [0, 1]. Accuracy: higher is better,
    ``1 / ways`` by chance.

    Args:
        root: Folder with the data.
        ways: Classes per episode.
        shots: Support pictures per class.
        queries: Query pictures per class.
        seed: Seed of the validation and test episodes.

    Raises:
        ValueError: If data are missing or damaged, or an episode needs more than there is.
    """

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
        self._split = cache(self._read)

    @staticmethod
    def discover(root: Path) -> Found:
        """The layout of the data in a folder.

        Raises:
            ValueError: If there is none: what is missing.
        """
        return find("miniImageNet", root, LAYOUTS)

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
        """Four convolutional blocks of 32 channels, normalised by the batch's own statistics."""
        return Conv4((SIDE, SIDE), in_channels=3)

    def head(self, in_features: int) -> nn.Module:
        """A linear classifier of the episode's classes."""
        return LinearHead(in_features, self.ways)

    def _read(self, split: Split) -> tuple[Samples, Tensor]:
        return read_split(self.found, split, SIDE)
