"""CIFAR-10: which of ten kinds of things is it?

A. Krizhevsky, "Learning multiple layers of features from tiny images", 2009.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor, nn

from moml.backbone import LinearHead, ResNet8
from moml.data import Defaults, Source, Suite, TaskSpec
from moml.data.suite import Split
from tasks._accuracy import classification
from tasks._cifar_files import CifarSource, find_cifar, read_cifar
from tasks._files.layout import Found
from tasks._held_out import check_held_out, train_or_val

FOLDER, ARCHIVE = "cifar-10-batches-py", "cifar-10-python.tar.gz"
TRAIN, TEST = tuple(f"data_batch_{i}" for i in range(1, 6)), "test_batch"


class CIFAR10(Suite):
    """60,000 pictures of ten classes: the single task of architecture search.

    Layouts: the folder ``cifar-10-batches-py`` as published, or ``cifar-10-python.tar.gz`` as it
    is. Its pickles are read without executing them. Inputs are ``(3, 32, 32)`` in [0, 1]. Accuracy:
    higher is better.

    Args:
        root: Folder with the data.
        held_out: Share of the 50,000 training pictures for validation.
        augment: Training pictures are moved by up to four pixels and mirrored at random.
        seed: Seed of the held-out part.

    Raises:
        ValueError: If data are missing, incomplete or damaged.
    """

    defaults = Defaults(steps=35_000, batch_size=128, learning_rate=1e-3, eval_every=1000)
    bounds = (0.0, 1.0)

    def __init__(
        self, root: Path, *, held_out: float = 0.1, augment: bool = True, seed: int = 0
    ) -> None:
        self.found, self.augment, self.seed = self.discover(root), augment, seed
        self.held_out = check_held_out(held_out)

    @staticmethod
    def discover(root: Path) -> Found:
        """The layout of the data in a folder.

        Raises:
            ValueError: If there is none: what is missing.
        """
        return find_cifar("CIFAR-10", root, FOLDER, (*TRAIN, TEST), ARCHIVE)

    @property
    def tasks(self) -> Mapping[str, TaskSpec]:
        """One classification task."""
        return {"class": classification(10)}

    def sources(self, split: Split) -> Source:
        """The pictures of this split."""
        images, labels = self._test if split == "test" else self._train
        source = CifarSource(images, {"class": labels}, augment=self.augment)
        return source if split == "test" else train_or_val(source, split, self.held_out, self.seed)

    def encoder(self) -> nn.Module:
        """The smallest residual network."""
        return ResNet8(3)

    def head(self, task: str, in_features: int) -> nn.Module:
        """A linear classifier."""
        return LinearHead(in_features, 10)

    @cached_property
    def _train(self) -> tuple[Tensor, Tensor]:
        parts = [self._read(file) for file in TRAIN]
        return torch.cat([x for x, _ in parts]), torch.cat([y for _, y in parts])

    @cached_property
    def _test(self) -> tuple[Tensor, Tensor]:
        return self._read(TEST)

    def _read(self, file: str) -> tuple[Tensor, Tensor]:
        images, labels = read_cifar(self.found, FOLDER, ARCHIVE, file, ("labels",))
        return images, labels["labels"]
