"""Two overlaid handwritten digits: which is on the left, which is on the right?

The geometry is that of MultiMNIST in O. Sener, V. Koltun, "Multi-task learning as multi-objective
optimization", NeurIPS 2018 (there 28-pixel digits on 36 pixels, here 8 on 10), itself after
S. Sabour, N. Frosst, G. Hinton, "Dynamic routing between capsules", NeurIPS 2017.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

import torch
from torch import Tensor, nn

from moml.backbone import LinearHead, SmallCNN
from moml.data import Defaults, Source, Suite, TaskSpec
from moml.data.suite import Split
from tasks._accuracy import classification
from tasks._labels import check_share, present_labels
from tasks._overlay import OverlaySource

SIZE, OFFSET = 8, 2
ITEMS: dict[Split, slice] = {
    "train": slice(0, 1200),
    "val": slice(1200, 1300),
    "test": slice(1300, 1797),
}
PAIRS: dict[Split, int] = {"train": 20_000, "val": 2_000, "test": 5_000}


class TwoDigits(Suite):
    """Two handwritten digits overlaid, one task for each: the two-task benchmark for a smoke run.

    Source: the 1,797 images of 8x8 pixels that scikit-learn carries, from the test part of
    "Optical Recognition of Handwritten Digits" (E. Alpaydin, C. Kaynak, UCI, CC BY 4.0). 1,200
    digits make the 20,000 pairs for training, 100 others 2,000 for validation, and 497 others 5,000
    for testing. Inputs are ``(1, 10, 10)`` in [0, 1]. Accuracy: higher is better.

    Args:
        multi_input: Every task gets pairs of its own instead of sharing each image.
        missing: Share of each task's labels dropped from the training split.
        seed: Seed of the split, the pairs and the dropped labels.
    """

    defaults = Defaults(steps=1500, batch_size=128, learning_rate=1e-3, eval_every=150)
    bounds = (0.0, 1.0)

    def __init__(self, *, multi_input: bool = False, missing: float = 0.0, seed: int = 0) -> None:
        check_share(missing)
        self.multi_input, self.missing, self.seed = multi_input, missing, seed

    @property
    def tasks(self) -> Mapping[str, TaskSpec]:
        """Left and right digit."""
        return {task: classification(10) for task in ("left", "right")}

    def sources(self, split: Split) -> Source | Mapping[str, Source]:
        """Pairs of digits of this split only."""
        if not self.multi_input:
            return self._pairs(split, ("left", "right"), stream=0)
        return {
            task: self._pairs(split, (task,), stream=1 + i) for i, task in enumerate(self.tasks)
        }

    def encoder(self) -> nn.Module:
        """A small convolutional network."""
        return SmallCNN((SIZE + OFFSET, SIZE + OFFSET))

    def head(self, task: str, in_features: int) -> nn.Module:
        """A linear classifier."""
        return LinearHead(in_features, 10)

    def _pairs(self, split: Split, tasks: tuple[str, ...], *, stream: int) -> OverlaySource:
        images, labels = _digits()
        generator = torch.Generator().manual_seed(self.seed)
        items = torch.randperm(len(images), generator=generator)[ITEMS[split]]
        number = 3 * stream + ("train", "val", "test").index(split)
        generator.manual_seed(1_000_003 * (self.seed + 1) + number)
        chosen = torch.randint(len(items), (PAIRS[split], 2), generator=generator)
        present = None
        if split == "train":
            seed = 7_919 * (self.seed + 1) + stream
            present = present_labels(tasks, len(chosen), missing=self.missing, seed=seed)
        pairs = items[chosen]
        return OverlaySource(images, labels, pairs, offset=OFFSET, tasks=tasks, present=present)


@cache
def _digits() -> tuple[Tensor, Tensor]:
    """All digits: images ``(1797, 8, 8)`` in [0, 1] and labels ``(1797,)``."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    images = torch.tensor(bunch.images, dtype=torch.float32) / 16
    return images, torch.tensor(bunch.target, dtype=torch.long)
