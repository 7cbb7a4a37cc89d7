"""CIFAR-FS: which of five kinds of things is it, having seen one or five small pictures of each?

L. Bertinetto, J. Henriques, P. Torr, A. Vedaldi, "Meta-learning with differentiable closed-form
solvers", ICLR 2019.
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
from tasks._cifar_fs_files import LAYOUTS, read_split
from tasks._episodes import check_episode, episodes_of
from tasks._files.layout import Found, find

SIDE = 32


class CIFARFS(FewShotSuite):
    """CIFAR-100's classes, 600 pictures each, 64 of them for training: episodes.

    Layouts: ``data/CLASS/*.png`` with ``splits/bertinetto/{train,val,test}.txt``; the pickles
    ``CIFAR_FS_{train,val,test}.pickle``, read without executing them; a folder per class in
    ``{train,val,test}``; or CIFAR-100 as published. Inputs are ``(3, 32, 32)`` in [0, 1]. Accuracy:
    higher is better, ``1 / ways`` by chance.

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
        return find("CIFAR-FS", root, LAYOUTS)

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
        """Four convolutional blocks of 64 channels, normalised by the batch's own statistics."""
        return Conv4((SIDE, SIDE), in_channels=3, width=64)

    def head(self, in_features: int) -> nn.Module:
        """A linear classifier of the episode's classes."""
        return LinearHead(in_features, self.ways)

    def _read(self, split: Split) -> tuple[Samples, Tensor]:
        return read_split(self.found, split)
