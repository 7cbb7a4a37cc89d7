"""MultiMNIST: two overlaid handwritten digits; which is on the left, which is on the right?

S. Sabour, N. Frosst, G. Hinton, "Dynamic routing between capsules", NeurIPS 2017, in the geometry
of O. Sener, V. Koltun, "Multi-task learning as multi-objective optimization", NeurIPS 2018. Digits:
Y. LeCun, C. Cortes, C. Burges, "The MNIST database of handwritten digits".
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor, nn

from moml.backbone import LinearHead, SmallCNN
from moml.data import Defaults, Source, Suite, TaskSpec
from moml.data.suite import Split
from tasks._accuracy import classification
from tasks._files.idx import read_idx
from tasks._files.layout import Found, Layout, find
from tasks._labels import check_share, present_labels
from tasks._overlay import OverlaySource

SIDE, OFFSET, MARGIN = 28, 6, 2  # a canvas of 36 pixels a side, read at 28 in the end
HELD_OUT = 1 / 6  # of the training digits, for validation: 10,000
FILES = {
    (part, kind): f"{name}-{kind}?idx{dims}-ubyte*"
    for part, name in (("train", "train"), ("test", "t10k"))
    for kind, dims in (("images", 3), ("labels", 1))
}
LAYOUTS = [
    Layout("MNIST's files", tuple(FILES.values()), inside=("raw", "MNIST/raw", "mnist", "MNIST"))
]


class MultiMNIST(Suite):
    """Two of MNIST's digits overlaid, one task for each.

    Layout: MNIST's four files, ``train-images-idx3-ubyte`` and so on, compressed or not. 28-pixel
    digits lie on 36 pixels, the right one six pixels further down and right, read at 28. Pairs are
    drawn within a split, so no digit is in two of them: 50,000 pairs for training, 10,000 for
    validation and 10,000 for testing. Inputs are ``(1, 28, 28)`` in [0, 1]. Accuracy: higher is
    better.

    Args:
        root: Folder with the data.
        missing: Share of each task's labels dropped from the training split.
        seed: Seed of the split, the pairs and the dropped labels.

    Raises:
        ValueError: If data are missing or damaged.
    """

    defaults = Defaults(steps=19_500, batch_size=256, learning_rate=1e-3, eval_every=1000)
    bounds = (0.0, 1.0)

    def __init__(self, root: Path, *, missing: float = 0.0, seed: int = 0) -> None:
        check_share(missing)
        self.found, self.missing, self.seed = self.discover(root), missing, seed

    @staticmethod
    def discover(root: Path) -> Found:
        """The layout of the data in a folder.

        Raises:
            ValueError: If there is none: what is missing.
        """
        return find("MNIST", root, LAYOUTS)

    @property
    def tasks(self) -> Mapping[str, TaskSpec]:
        """Left and right digit."""
        return {task: classification(10) for task in ("left", "right")}

    def sources(self, split: Split) -> Source:
        """Pairs of digits of this split only: every digit is once on the left."""
        images, labels = self._test if split == "test" else self._train
        generator = torch.Generator().manual_seed(self.seed)
        items = torch.randperm(len(images), generator=generator)
        held = max(1, round(HELD_OUT * len(items)))
        if split != "test":
            items = items[:held] if split == "val" else items[held:]
        generator.manual_seed(1_000_003 * (self.seed + 1) + ("train", "val", "test").index(split))
        partners = items[torch.randint(len(items), items.shape, generator=generator)]
        present = None
        if split == "train":
            seed = 7_919 * (self.seed + 1)
            present = present_labels(self.tasks, len(items), missing=self.missing, seed=seed)
        return OverlaySource(
            images, labels, torch.stack([items, partners], 1),
            offset=OFFSET, margin=MARGIN, resized=SIDE, present=present,
        )  # fmt: skip

    def encoder(self) -> nn.Module:
        """A small convolutional network."""
        return SmallCNN((SIDE, SIDE))

    def head(self, task: str, in_features: int) -> nn.Module:
        """A linear classifier."""
        return LinearHead(in_features, 10)

    @cached_property
    def _train(self) -> tuple[Tensor, Tensor]:
        return self._read("train")

    @cached_property
    def _test(self) -> tuple[Tensor, Tensor]:
        return self._read("test")

    def _read(self, part: str) -> tuple[Tensor, Tensor]:
        names = {kind: FILES[part, kind] for kind in ("images", "labels")}
        files = {kind: min(self.found.folder.glob(name)) for kind, name in names.items()}
        images, labels = read_idx(files["images"], dims=3), read_idx(files["labels"], dims=1)
        if len(images) != len(labels) or images.shape[1:] != (SIDE, SIDE) or labels.max() > 9:
            raise ValueError(
                f"'{files['images']}' should hold {len(labels)} digits of 28x28 of classes 0..9, "
                f"found {tuple(images.shape)} of classes up to {int(labels.max())}."
            )
        return images, labels.long()
