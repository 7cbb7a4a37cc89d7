"""Attributes of a handwritten digit and of the picture it is in.

Labels that are functions of one another (class, parity, ...) and labels that are not (place,
background): attacks on several tasks at once are easier on the former.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

import torch
from torch import nn

from moml.backbone import LinearHead, SmallCNN
from moml.data import Defaults, Source, Suite, TaskSpec, TensorSource
from moml.data.suite import Split
from tasks._accuracy import classification
from tasks._digit_images import digits, enlarged, items, patches

SIZE, STROKES = 16, 12  # pixels of a picture's side, and of the digit's
COPIES: dict[Split, int] = {"train": 4, "val": 4, "test": 2}
CLASSES = {"digit": 10, "parity": 2, "high": 2, "loop": 2, "corner": 4, "background": 2}
LOOPED = (0, 6, 8, 9)


class DigitAttributes(Suite):
    """A handwritten digit in a corner of a photograph: attributes of both.

    Tasks: ``digit`` (10 classes), ``parity``, ``high`` (5 or more) and ``loop`` (0, 6, 8 and 9, by
    class) follow from each other; ``corner`` (which of 4) and ``background`` (which of two
    photographs) are independent of them and of each other. All tasks see the same picture. 1,200
    digits for training (four pictures each), 100 for validation, 497 for testing (two each), from
    parts of the photographs of their own. Inputs are ``(1, 16, 16)`` in [0, 1]. Accuracy: higher
    is better.

    Args:
        seed: Seed of the split and of all pictures.
    """

    defaults = Defaults(steps=1000, batch_size=64, learning_rate=1e-3, eval_every=100)
    bounds = (0.0, 1.0)

    def __init__(self, *, seed: int = 0) -> None:
        self.seed = seed

    @property
    def tasks(self) -> Mapping[str, TaskSpec]:
        """Six classification tasks."""
        return {task: classification(number) for task, number in CLASSES.items()}

    def sources(self, split: Split) -> Source:
        """The pictures of this split, rendered once per process."""
        return _rendered(split, self.seed)

    def encoder(self) -> nn.Module:
        """A small convolutional network."""
        return SmallCNN((SIZE, SIZE))

    def head(self, task: str, in_features: int) -> nn.Module:
        """A linear classifier."""
        return LinearHead(in_features, CLASSES[task])


@cache
def _rendered(split: Split, seed: int) -> TensorSource:
    number = ("train", "val", "test").index(split)
    generator = torch.Generator().manual_seed(1_000_003 * (seed + 1) + number)
    images, labels = digits()
    chosen = items(split, seed).repeat(COPIES[split])
    corner = torch.randint(4, chosen.shape, generator=generator)
    background = torch.randint(2, chosen.shape, generator=generator)
    pictures = 0.6 * patches(background, SIZE, split, generator)  # (N, 16, 16)
    strokes, room = enlarged(images[chosen], STROKES), SIZE - STROKES
    for place in range(4):
        here = (corner == place).nonzero()[:, 0]
        top, left = room * (place // 2), room * (place % 2)
        area = (here, slice(top, top + STROKES), slice(left, left + STROKES))
        pictures[area] = torch.maximum(pictures[area], strokes[here])
    digit = labels[chosen]
    targets = {
        "digit": digit,
        "parity": digit % 2,
        "high": (digit >= 5).long(),
        "loop": torch.isin(digit, torch.tensor(LOOPED)).long(),
        "corner": corner,
        "background": background,
    }
    return TensorSource(pictures[:, None], targets)
