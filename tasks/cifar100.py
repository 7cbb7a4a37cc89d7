"""CIFAR-100: which of a hundred kinds of things is it, and of which twenty sorts?

A. Krizhevsky, "Learning multiple layers of features from tiny images", 2009. Its sorts as twenty
tasks: C. Rosenbaum, T. Klinger, M. Riemer, "Routing networks", ICLR 2018.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path

from torch import Tensor, nn

from moml.backbone import LinearHead, ResNet8
from moml.data import Defaults, Source, Suite, TaskSpec
from moml.data.suite import Split
from tasks._accuracy import classification
from tasks._cifar_files import CifarSource, find_cifar, read_cifar
from tasks._files.layout import Found
from tasks._held_out import check_held_out, train_or_val

FOLDER, ARCHIVE = "cifar-100-python", "cifar-100-python.tar.gz"
FINE, COARSE, EACH = 100, 20, 5
LABELS = ("fine_labels", "coarse_labels")


class CIFAR100(Suite):
    """60,000 pictures of a hundred classes in twenty sorts: two tasks, or twenty of five classes.

    Layouts: the folder ``cifar-100-python`` as published, or ``cifar-100-python.tar.gz`` as it is.
    Its pickles are read without executing them. Inputs are ``(3, 32, 32)`` in [0, 1]. Accuracy:
    higher is better.

    Args:
        root: Folder with the data.
        by_sort: Twenty tasks with pictures of their own, each of which tells the five classes of a
            sort apart, instead of two tasks (class, sort) on all pictures.
        held_out: Share of the 50,000 training pictures for validation.
        augment: Training pictures are moved by up to four pixels and mirrored at random.
        seed: Seed of the held-out part.

    Raises:
        ValueError: If data are missing, incomplete or damaged.
    """

    defaults = Defaults(steps=35_000, batch_size=128, learning_rate=1e-3, eval_every=1000)
    bounds = (0.0, 1.0)

    def __init__(
        self,
        root: Path,
        *,
        by_sort: bool = False,
        held_out: float = 0.1,
        augment: bool = True,
        seed: int = 0,
    ) -> None:
        self.found, self.by_sort, self.augment = self.discover(root), by_sort, augment
        self.held_out, self.seed = check_held_out(held_out), seed

    @staticmethod
    def discover(root: Path) -> Found:
        """The layout of the data in a folder.

        Raises:
            ValueError: If there is none: what is missing.
        """
        return find_cifar("CIFAR-100", root, FOLDER, ("train", "test"), ARCHIVE)

    @property
    def tasks(self) -> Mapping[str, TaskSpec]:
        """Class and sort, or one task per sort."""
        if self.by_sort:
            return {f"sort_{i:02d}": classification(EACH) for i in range(COARSE)}
        return {"class": classification(FINE), "sort": classification(COARSE)}

    def sources(self, split: Split) -> Source | Mapping[str, Source]:
        """The pictures of this split."""
        images, fine, coarse = self._test if split == "test" else self._train
        if not self.by_sort:
            return self._part(images, {"class": fine, "sort": coarse}, split)
        found = {}
        for i, task in enumerate(self.tasks):
            mine = coarse == i
            classes, labels = fine[mine].unique(return_inverse=True)
            if len(classes) > EACH:
                raise ValueError(f"Sort {i} should have {EACH} classes, found {len(classes)}.")
            found[task] = self._part(images[mine], {task: labels}, split)
        return found

    def encoder(self) -> nn.Module:
        """The smallest residual network."""
        return ResNet8(3)

    def head(self, task: str, in_features: int) -> nn.Module:
        """A linear classifier."""
        classes = EACH if self.by_sort else FINE if task == "class" else COARSE
        return LinearHead(in_features, classes)

    def _part(self, images: Tensor, targets: dict[str, Tensor], split: Split) -> Source:
        source = CifarSource(images, targets, augment=self.augment)
        return source if split == "test" else train_or_val(source, split, self.held_out, self.seed)

    @cached_property
    def _train(self) -> tuple[Tensor, Tensor, Tensor]:
        return self._read("train")

    @cached_property
    def _test(self) -> tuple[Tensor, Tensor, Tensor]:
        return self._read("test")

    def _read(self, file: str) -> tuple[Tensor, Tensor, Tensor]:
        images, labels = read_cifar(self.found, FOLDER, ARCHIVE, file, LABELS)
        return images, labels["fine_labels"], labels["coarse_labels"]
